/**
 * What every runtime does alike, over the bundle: the same bits with any number of threads, aborts, growing memory, an end.
 * Plain JavaScript without dependencies, so that Node, Deno, Bun, workerd and a page all run this very file; each has a thin
 * one beside it that hands in the library and the files, and tests compare what comes out.
 */

const DTYPES = ['auto', 'int8', 'int4'];
/** Tokens of the long prompt: more memory than the first prompt left free. */
const LONG = 900;

/**
 * @param library the bundle's exports
 * @param location the embedded checkpoint, as from_pretrained takes it
 * @param picture a picture file's bytes
 * @param options `threads`: the numbers to try, the default (undefined) among them; `engine`: more options for every model
 * @returns `bits`: of each model a digest of its logits, its answer and its number of threads; `checks`: what must be true
 */
export async function platformSuite(library, location, picture, { threads, engine = {} }) {
  const processor = await library.AutoProcessor.from_pretrained(location);
  const content = [
    { type: 'image', image: picture },
    { type: 'text', text: 'Describe this image.' },
  ];
  const inputs = await processor.apply_chat_template([{ role: 'user', content }], {
    add_generation_prompt: true,
    tokenize: true,
  });
  const open = (options) =>
    library.SmolVLMForConditionalGeneration.from_pretrained(location, { ...engine, ...options });
  const run = { library, processor, inputs, open };
  const bits = [];
  for (const relaxed of [false, 'auto']) {
    for (const dtype of DTYPES) {
      for (const count of threads) bits.push(await oneModel(run, { dtype, threads: count, relaxed }));
      // Without relaxed SIMD 'auto' is what was seen already.
      if (relaxed && !bits.at(-1).relaxed) break;
    }
  }
  const checks = {};
  for (const count of threads) await manners(run, count, checks);
  await conversation(library, location, picture, engine, checks);
  return { bits, checks };
}

/** A conversation: streamed, reused, left early, saved with its cache and restored by another engine. */
async function conversation(library, location, picture, engine, checks) {
  const vlm = await library.SmolVLM.from_pretrained(location, engine);
  const chat = vlm.chat();
  const first = chat.send('Describe this image.', { images: picture });
  let text = '';
  for await (const piece of first) text += piece;
  checks['an answer streams its text'] = text.length > 0 && text === (await first).text;
  const { usage } = await chat.send('How many shapes are there?');
  const known = (await first).usage.total_tokens - 1;
  checks['a second turn computes its own tokens alone'] =
    usage.cached_tokens === known && usage.tiles_encoded === 0;
  const left = chat.send('Describe this image.');
  for await (const _ of left) break;
  const error = await left.then(
    () => undefined,
    (reason) => reason,
  );
  checks['a loop that is left cancels its answer'] =
    error?.name === 'AbortError' && chat.messages.length === 4;
  const saved = await chat.save({ cache: true });
  vlm.dispose();
  const other = await library.SmolVLM.from_pretrained(location, engine);
  const restored = await other.restore(saved);
  const warm = await restored.send('Describe this image.');
  other.model.prefix_cache.clear();
  other.model.image_cache.clear();
  const cold = await other.chat({ messages: restored.messages.slice(0, -1) }).answer();
  checks['a restored session goes on where it stopped'] =
    warm.usage.cached_tokens === restored.restored_tokens;
  checks['with the answer of a fresh run'] =
    restored.restored_tokens > known && cold.usage.cached_tokens === 0 && `${warm.ids}` === `${cold.ids}`;
  other.dispose();
}

/** A picture's logits and answer. */
async function oneModel({ processor, inputs, open }, options) {
  const model = await open(options);
  const { logits } = await model.forward({ ...inputs, use_cache: false });
  const ids = await model.generate({ ...inputs, max_new_tokens: 40 });
  const seen = {
    dtype: options.dtype,
    asked: options.threads ?? 'default',
    threads: model.threads,
    relaxed: model.relaxed,
    logits: await digest(logits.data),
    text: processor.batch_decode(ids, { skip_special_tokens: true })[0],
  };
  model.dispose();
  return seen;
}

/** Growing while workers run, aborts, disposing. */
async function manners({ library, inputs, open }, threads, checks) {
  const named = (what) => `${what} (threads: ${threads ?? 'default'})`;
  const model = await open({ threads, image_cache_bytes: 0, prefix_cache_bytes: 0 });
  const long = longPrompt();
  const first = await logitsOf(model, inputs);
  const before = model.memory;
  const want = await logitsOf(model, long);
  checks[named('the memory grew')] = model.memory > before;
  checks[named('the same bits after it grew')] = (await logitsOf(model, inputs)) === first;

  const reason = new Error('stop');
  let aborted = 0;
  for (let i = 0; i < 5; i++) {
    const controller = new AbortController();
    const result = logitsOf(model, long, controller.signal);
    setTimeout(() => controller.abort(reason), i);
    aborted += await result.then(
      () => 0,
      (error) => (error === reason ? 1 : Number.NaN),
    );
  }
  checks[named('aborts reject with their reason')] = aborted > 0;
  checks[named('the same bits after aborts')] = (await logitsOf(model, long)) === want;

  const running = logitsOf(model, long);
  setTimeout(() => model.dispose(), 1);
  const isDisposedError = (error) => error instanceof library.DisposedError;
  checks[named('dispose ends a run')] = await running.then(() => false, isDisposedError);
  checks[named('dispose ends the model')] = await logitsOf(model, inputs).then(() => false, isDisposedError);
}

async function logitsOf(model, inputs, signal) {
  const { logits } = await model.forward({ ...inputs, use_cache: false, logits_to_keep: 4, signal });
  return digest(logits.data);
}

function longPrompt() {
  const data = BigInt64Array.from({ length: LONG }, (_, i) => BigInt((i * 37) % 90));
  return { input_ids: { dims: [1, LONG], data } };
}

/** SHA-256 in hexadecimal digits. */
async function digest(values) {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const sum = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes.slice()));
  return Array.from(sum, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
