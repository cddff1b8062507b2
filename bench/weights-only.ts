/**
 * What a decoded token costs beside its weights alone: the product kernels with the very arguments that one token's calls
 * have (every layer and the head, the same panels in the same parts and order), and nothing else. Tokens and loops take
 * turns, so that both have the same moments of the machine.
 */
import type { Model } from '../src/model/model.js';
import type { Kernels } from '../src/runtime/kernels.js';
import { type KernelName, watchKernels } from '../test/support/kernel-calls.js';
import { countWork, sum } from '../test/support/work.js';
import { Ceilings } from './ceilings.js';
import { openModel } from './configuration.js';
import { legacyCache, textIds } from './inputs.js';
import type { Job, Say } from './job.js';
import type { Row } from './report.js';
import { sizeConfig } from './sizes.js';
import { type Timing, timing } from './timing.js';

const CONTEXT = 128;
const TURNS = 40;
const WARM = 6;
const PRODUCT = /_gem[mv]$/;

/** For one thread: what workers call is not seen. */
export async function benchDecode({ size, folder, configuration }: Job, say: Say): Promise<void> {
  const model = await openModel(folder, configuration);
  const config = sizeConfig(size);
  const past_key_values = await model.from_legacy_cache(legacyCache(config, CONTEXT));
  const ids = textIds(config, TURNS + WARM + 2).data;
  let at = 0;
  const token = () => {
    const input_ids = { dims: [1, 1], data: ids.subarray(at, ++at) };
    return model.forward({ input_ids, past_key_values, logits_to_keep: 1 });
  };
  const { bytes } = sum((await countWork(token)).products);
  const calls = await productCalls(token);
  const { kernels } = (model as unknown as { model: Model }).model.ops.engine;
  const { tokens, loops } = await inTurns(token, () => {
    for (const { name, args } of calls) (kernels[name] as Kernel)(...args);
  });
  const report = (row: Omit<Row, 'part'>) => say({ row: { part: 'decode', ...row } });
  report({
    work: 'the weights of a token and nothing else',
    ...figures(loops),
    value: bytes / 1e9 / loops.median,
    unit: 'GB/s',
    against: { name: 'load-sum of memory', value: new Ceilings().loadSum() },
    note: `${(bytes / 1e6).toFixed(1)} MB in ${calls.length} calls`,
  });
  report({
    work: `a token at context ${CONTEXT}`,
    ...figures(tokens),
    value: 1 / tokens.median,
    unit: 'tokens/s',
    against: { name: 'the weights alone', value: 1 / loops.median },
    note: configuration.aim ? `the aim: ${configuration.aim}` : undefined,
  });
  past_key_values.dispose();
  model.dispose();
}

type Kernel = (...args: readonly number[]) => void;

interface Call {
  readonly name: KernelName;
  readonly args: readonly number[];
}

/** The products among the kernel calls of a computation. Their operands stay where they are until the next one. */
async function productCalls(compute: () => Promise<unknown>): Promise<Call[]> {
  const calls: Call[] = [];
  await watchKernels((name: keyof Kernels, args) => {
    if (PRODUCT.test(name)) calls.push({ name, args: [...args] });
  }, compute);
  return calls;
}

async function inTurns(token: () => Promise<unknown>, loop: () => void) {
  const tokens: number[] = [];
  const loops: number[] = [];
  for (let turn = 0; turn < WARM + TURNS; turn++) {
    const started = performance.now();
    await token();
    const between = performance.now();
    loop();
    const ended = performance.now();
    if (turn < WARM) continue;
    tokens.push((between - started) / 1000);
    loops.push((ended - between) / 1000);
  }
  return { tokens: timing(tokens), loops: timing(loops) };
}

function figures({ median, runs, spread }: Timing): Pick<Row, 'seconds' | 'runs' | 'spread'> {
  return { seconds: median, runs, spread };
}
