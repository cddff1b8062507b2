/**
 * The platform suite under workerd, and wherever nothing may be compiled at run time and nothing be shared: the kernels come
 * compiled, the checkpoint as imported files. platform.test.ts writes the configuration that names all of them.
 */

import weights from '../../checkpoints/smolvlm-shapes/model.safetensors';
import * as library from '../../dist/index.js';
import module from '../../dist/kernels.wasm';
import picture from '../../examples/pictures/shapes-on-checks.jpg';
import files from './files.json';
import { platformSuite } from './suite.mjs';

export default {
  async fetch() {
    const location = { ...files, 'model.safetensors': weights };
    const options = { threads: [1, 'auto', undefined], engine: { module } };
    try {
      return Response.json(await platformSuite(library, location, new Uint8Array(picture), options));
    } catch (error) {
      return Response.json({ error: String(error?.stack ?? error) }, { status: 500 });
    }
  },
};
