/** One picture and a question. */
import { fileURLToPath } from 'node:url';
import { AutoModelForImageTextToText, AutoProcessor } from 'smolvlm-wasm';

const folder = fileURLToPath(new URL('../checkpoints/smolvlm-shapes', import.meta.url));
const processor = await AutoProcessor.from_pretrained(folder);
const model = await AutoModelForImageTextToText.from_pretrained(folder, {
  dtype: 'float32',
  device_map: 'auto',
});

const path = fileURLToPath(new URL('pictures/shapes-on-blue.png', import.meta.url));
const conversation = [
  {
    role: 'user',
    content: [
      { type: 'image', path },
      { type: 'text', text: 'Describe this image.' },
    ],
  },
];
const inputs = await processor.apply_chat_template(conversation, {
  add_generation_prompt: true,
  tokenize: true,
  return_dict: true,
});
const output_ids = await model.generate({ ...inputs, max_new_tokens: 48 });
const generated_texts = processor.batch_decode(output_ids, { skip_special_tokens: true });
console.log(generated_texts[0]);
model.dispose();
