/** A prompt without pictures, streamed. The embedded checkpoint knows pictures only: what it says here means nothing. */
import { fileURLToPath } from 'node:url';
import { AutoModelForImageTextToText, AutoProcessor } from 'smolvlm-wasm';

const folder = process.argv[2] ?? fileURLToPath(new URL('../checkpoints/smolvlm-shapes', import.meta.url));
const processor = await AutoProcessor.from_pretrained(folder);
const model = await AutoModelForImageTextToText.from_pretrained(folder);

const inputs = await processor.apply_chat_template([{ role: 'user', content: 'who are you?' }], {
  add_generation_prompt: true,
  tokenize: true,
  return_dict: true,
});
const stream = processor.text_stream({ skip_special_tokens: true });
const prompt = inputs.input_ids.dims[1];
const streamer = {
  // The prompt's ids come first, then one id at a time.
  put: (ids) => ids.length < prompt && process.stdout.write(stream.push(ids[0])),
  end: () => process.stdout.write(`${stream.end()}\n`),
};
await model.generate({ ...inputs, max_new_tokens: 24, streamer });
model.dispose();
