/**
 * Several pictures in one prompt. The embedded checkpoint was trained on one picture at a time, so its answer speaks of
 * one of them; a published SmolVLM compares them.
 */
import { fileURLToPath } from 'node:url';
import { AutoModelForImageTextToText, AutoProcessor } from 'smolvlm-wasm';

const folder = process.argv[2] ?? fileURLToPath(new URL('../checkpoints/smolvlm-shapes', import.meta.url));
const processor = await AutoProcessor.from_pretrained(folder);
const model = await AutoModelForImageTextToText.from_pretrained(folder);

const picture = (name) => ({
  type: 'image',
  path: fileURLToPath(new URL(`pictures/${name}`, import.meta.url)),
});
const conversation = [
  {
    role: 'user',
    content: [
      picture('shapes-on-blue.png'),
      picture('shapes-on-stripes.jpg'),
      { type: 'text', text: 'What is in this image?' },
    ],
  },
];
const inputs = await processor.apply_chat_template(conversation, {
  add_generation_prompt: true,
  tokenize: true,
  return_dict: true,
});
console.log(`${inputs.pixel_values.dims[1]} tiles, ${inputs.input_ids.dims[1]} tokens`);
const ids = await model.generate({ ...inputs, max_new_tokens: 48 });
console.log(processor.batch_decode(ids, { skip_special_tokens: true })[0]);
model.dispose();
