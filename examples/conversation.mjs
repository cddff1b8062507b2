/** A conversation about a picture: answers stream, and later turns compute their own tokens alone. */
import { fileURLToPath } from 'node:url';
import { SmolVLM } from 'smolvlm-wasm';

const vlm = await SmolVLM.from_pretrained(
  fileURLToPath(new URL('../checkpoints/smolvlm-shapes', import.meta.url)),
);
const chat = vlm.chat();

const picture = fileURLToPath(new URL('pictures/shapes-on-blue.png', import.meta.url));
const first = chat.send('How many shapes are there?', { images: picture });
for await (const piece of first) process.stdout.write(piece);

const { text, usage } = await chat.send('What is the colour of the star?');
console.log(`\n${text} (${usage.cached_tokens} of ${usage.prompt_tokens} tokens were known)`);
vlm.dispose();
