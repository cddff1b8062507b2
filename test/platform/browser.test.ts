import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root, shapes } from '../support/paths.js';
import { chromium, ISOLATED, runInBrowser } from './browser.js';

/** What the page and Node both do with the bundle: an answer, the bits behind it, the frames of two videos. */
interface Seen {
  threads: number;
  text: string;
  logits: string;
  videos: Record<string, { times: number[]; means: number[][] }>;
}

/** What suite.mjs reports. */
interface Report {
  bits: { dtype: string; threads: number; relaxed: boolean; logits: string }[];
  checks: Record<string, boolean>;
  concurrency: number;
}

let ofNode: Promise<Report> | undefined;

/** Runs in the page and, as a function, in Node: `read` gives bytes, `location` the checkpoint. */
const ANSWER = `async (library, location, read) => {
  const processor = await library.AutoProcessor.from_pretrained(location);
  const model = await library.SmolVLMForConditionalGeneration.from_pretrained(location);
  const image = await read('examples/pictures/shapes-on-checks.jpg');
  const content = [{ type: 'image', image }, { type: 'text', text: 'Describe this image.' }];
  const inputs = await processor.apply_chat_template([{ role: 'user', content }], {
    add_generation_prompt: true, tokenize: true,
  });
  const { logits } = await model.forward({ ...inputs, use_cache: false });
  const ids = await model.generate({ ...inputs, max_new_tokens: 40 });
  const { threads } = model;
  model.dispose();
  return { threads, text: processor.batch_decode(ids, { skip_special_tokens: true })[0], logits: logits.data };
}`;

const SCRIPT = `
  seen.videos = {};
  const library = await import('/dist/index.js');
  const read = async (path) => new Uint8Array(await (await fetch('/' + path)).arrayBuffer());
  const { threads, text, logits } = await (${ANSWER})(library, new URL('/checkpoints/smolvlm-shapes/', location), read);
  Object.assign(seen, { threads, text });
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', logits));
  seen.logits = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
  const mediabunny = await import('/node_modules/mediabunny/dist/bundles/mediabunny.min.mjs');
  for (const name of ['uneven.webm', 'clip.mp4']) {
    const blob = new Blob([await read('test/fixtures/video/' + name)]);
    const source = await library.webCodecsDecoder(mediabunny).open(blob);
    const means = [];
    for await (const frame of source.frames(source.times.map((_, index) => index))) {
      const channels = frame.data.length / (frame.width * frame.height);
      means.push([0, 1, 2].map((c) => {
        let sum = 0;
        for (let i = c; i < frame.data.length; i += channels) sum += frame.data[i];
        return sum / (frame.width * frame.height);
      }));
    }
    seen.videos[name] = { times: Array.from(source.times), means };
    await source.close?.();
  }
`;

const LIBRARY = `
  const library = await import('/dist/index.js');
  const { platformSuite } = await import('/test/platform/suite.mjs');
  const location_ = new URL('/checkpoints/smolvlm-shapes/', location);
  const picture = new Uint8Array(await (await fetch('/examples/pictures/shapes-on-checks.jpg')).arrayBuffer());
`;

const SUITE = `${LIBRARY}
  Object.assign(seen, await platformSuite(library, location_, picture, { threads: [1, 2, 'auto', undefined] }));
  seen.concurrency = navigator.hardwareConcurrency;
`;

const SUITE_IN_WORKER = `
  const worker = new Worker('/test/platform/page-worker.mjs', { type: 'module' });
  Object.assign(seen, await new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
  }));
`;

const NO_WORKERS = `${LIBRARY}
  const { bits } = await platformSuite(library, location_, picture, { threads: ['auto'] });
  Object.assign(seen, { threads: bits[0].threads, logits: bits[0].logits });
  const model = await library.SmolVLMForConditionalGeneration.from_pretrained(location_, { threads: 2 });
  const ids = { dims: [1, 2], data: BigInt64Array.of(5n, 6n) };
  seen.refused = await model.forward({ input_ids: ids }).then(() => 'nothing', (error) => error.name + ': ' + error.message);
`;

inChromium('the bundle gives the text and the logits’ bits of Node, and WebCodecs every frame', async () => {
  // The page is not isolated: it may not share memory, so one thread computes.
  const seen = await runInBrowser<Seen>(SCRIPT);
  assert.is(seen.error, undefined);
  assert.is(seen.threads, 1);
  const library = await import(`${root}/dist/index.js`);
  const read = async (path: string) => new Uint8Array(readFileSync(join(root, path)));
  // The page's own source, so that both do the same.
  const answer = new Function(`return ${ANSWER}`)();
  const { text, logits } = await answer(library, join(root, 'checkpoints/smolvlm-shapes'), read);
  assert.is(seen.text, text);
  assert.is(seen.logits, createHash('sha256').update(new Uint8Array(logits.buffer)).digest('hex'));
  const { 'uneven.webm': webm, 'clip.mp4': mp4 } = seen.videos;
  assert.is(webm.means.length, 25);
  assert.is(mp4.means.length, 50);
  assert.equal(webm.times.slice(0, 8), [0, 0.04, 0.08, 0.2, 0.24, 0.28, 0.4, 0.44]);
  // Means of red, green and blue of the first and a later frame, as ffmpeg decodes them; decoders may differ by a level.
  const pairs: [number[], number][] = [
    [webm.means[0], 20],
    [webm.means[12], 68],
    [mp4.means[0], 20],
    [mp4.means[12], 68],
    [mp4.means[25], 119],
  ];
  for (const [mean, expected] of pairs) {
    for (const value of mean) assert.ok(Math.abs(value - expected) <= 2, `${mean} instead of ${expected}`);
  }
});

inChromium(
  'an isolated page holds the platform suite: threads 1, 2, auto, with the bits of Node',
  async () => {
    const seen = await runInBrowser<Report>(SUITE, ISOLATED);
    assert.is(seen.error, undefined);
    const failed = Object.keys(seen.checks).filter((name) => seen.checks[name] !== true);
    assert.equal(failed, []);
    assert.is(Object.keys(seen.checks).length, 29);
    const threads = seen.bits.slice(0, 4).map(({ threads }) => threads);
    assert.equal(threads, [1, 2, seen.concurrency, 1]);
    for (const dtype of ['auto', 'int8', 'int4']) {
      const bits = seen.bits.filter((one) => one.dtype === dtype && !one.relaxed).map(({ logits }) => logits);
      assert.equal(bits, new Array(4).fill(await logitsInNode(dtype)), dtype);
      const relaxed = seen.bits
        .filter((one) => one.dtype === dtype && one.relaxed)
        .map(({ logits }) => logits);
      assert.ok(new Set(relaxed).size <= 1, `${dtype}, relaxed`);
    }
  },
);

inChromium(
  'a worker of an isolated page holds it too, with 2 and 3 threads of which it is one: the bits of Node',
  async () => {
    const seen = await runInBrowser<Report>(SUITE_IN_WORKER, ISOLATED);
    assert.is(seen.error, undefined);
    const failed = Object.keys(seen.checks).filter((name) => seen.checks[name] !== true);
    assert.equal(failed, []);
    const plain = seen.bits.filter(({ relaxed }) => !relaxed);
    assert.equal(
      plain.map(({ threads }) => threads),
      [2, 3, 2, 3, 2, 3],
    );
    for (const { dtype, logits } of plain) assert.is(logits, await logitsInNode(dtype), dtype);
  },
);

inChromium(
  'an isolated page that forbids workers: auto goes on with one thread, 2 is an InputError',
  async () => {
    const headers = { ...ISOLATED, 'content-security-policy': "worker-src 'none'" };
    const seen = await runInBrowser<{ threads: number; logits: string; refused: string }>(
      NO_WORKERS,
      headers,
    );
    assert.is(seen.error, undefined);
    assert.is(seen.threads, 1);
    assert.is(seen.logits, await logitsInNode('auto'));
    assert.match(seen.refused, /InputError: no workers \(threads\): expected a host that starts workers/);
  },
);

function inChromium(what: string, body: () => Promise<void>): void {
  const title = `in Chromium ${what}`;
  if (chromium !== undefined) test(title, body);
  else {
    console.log(`SKIP ${title} (no Chromium: set CHROMIUM_PATH)`);
    test.skip(title, () => {});
  }
}

/** The digest of the suite's logits with one thread. */
async function logitsInNode(dtype: string): Promise<string> {
  const library = await import(`${root}/dist/index.js`);
  const { platformSuite } = await import(`${root}/test/platform/suite.mjs`);
  const picture = new Uint8Array(readFileSync(join(root, 'examples/pictures/shapes-on-checks.jpg')));
  ofNode ??= platformSuite(library, shapes, picture, { threads: [1] }) as Promise<Report>;
  const { bits } = await ofNode;
  return bits.find((one) => one.dtype === dtype && !one.relaxed)!.logits;
}

test.run();
