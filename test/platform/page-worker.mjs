/** The platform suite in a worker of a page, whose thread computes with those of the library: posts its report. */
import * as library from '../../dist/index.js';
import { platformSuite } from './suite.mjs';

const location = new URL('../../checkpoints/smolvlm-shapes/', import.meta.url);
const picture = await fetch(new URL('../../examples/pictures/shapes-on-checks.jpg', import.meta.url));
const bytes = new Uint8Array(await picture.arrayBuffer());
postMessage(await platformSuite(library, location, bytes, { threads: [2, 3] }));
