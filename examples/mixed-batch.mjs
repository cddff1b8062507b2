/** A batch of prompts with one picture, two pictures and none. Each row gets what it would get alone. */
import { fileURLToPath } from 'node:url';
import { AutoModelForImageTextToText, AutoProcessor } from 'smolvlm-wasm';

const folder = process.argv[2] ?? fileURLToPath(new URL('../checkpoints/smolvlm-shapes', import.meta.url));
const processor = await AutoProcessor.from_pretrained(folder);
const model = await AutoModelForImageTextToText.from_pretrained(folder);

const image = (name) => ({
  type: 'image',
  path: fileURLToPath(new URL(`pictures/${name}`, import.meta.url)),
});
const text = (text) => ({ type: 'text', text });
const conversations = [
  [{ role: 'user', content: [image('shapes-on-blue.png'), text('Describe this image.')] }],
  [
    {
      role: 'user',
      content: [
        image('shapes-on-checks.jpg'),
        image('shapes-on-stripes.jpg'),
        text('Which shapes are there?'),
      ],
    },
  ],
  [{ role: 'user', content: 'who are you?' }],
];
const inputs = await processor.apply_chat_template(conversations, {
  add_generation_prompt: true,
  tokenize: true,
  return_dict: true,
  padding: true,
  padding_side: 'left',
});
const ids = await model.generate({ ...inputs, do_sample: false, max_new_tokens: 48 });
for (const answer of processor.batch_decode(ids, { skip_special_tokens: true })) console.log(`--\n${answer}`);
model.dispose();
