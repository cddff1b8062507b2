/** A model by name where no file can be kept and nothing is compiled: edge functions. `?endpoint=…&token=…` */
import * as library from '../../dist/index.js';
import module from '../../dist/kernels.wasm';

export default {
  async fetch(request) {
    const { endpoint, token } = Object.fromEntries(new URL(request.url).searchParams);
    const load = async (more) => {
      const options = { endpoint, token, module, ...more };
      const model = await library.SmolVLMForConditionalGeneration.from_pretrained('test-org/shapes', options);
      const input_ids = { dims: [1, 3], data: BigInt64Array.of(5n, 6n, 7n) };
      const { logits } = await model.forward({ input_ids });
      const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', logits.data));
      return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
    };
    const code = (error) => error.cause?.code ?? error.code ?? String(error?.stack ?? error);
    const seen = { logits: await load({}).catch(code) };
    seen.wrong = await load({ revision: 'wrong' }).catch(code);
    seen.offline = await load({ local_files_only: true }).catch(code);
    seen.refused = await load({ token: false }).catch(code);
    return Response.json(seen);
  },
};
