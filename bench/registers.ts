/**
 * What the arithmetic units give when nothing has to be loaded: loops over twelve registers, written out as WebAssembly
 * text. (Fewer registers would wait for one another's results, more would not fit.)
 */

/** One loop: `steps` times twelve independent vectors, each replaced by `update` of itself and the constant $v. */
export interface RegisterLoop {
  readonly name: string;
  /** Multiplications and additions of one vector's update. */
  readonly operations: number;
  /** Whether it needs relaxed SIMD, which older engines refuse. */
  readonly relaxed: boolean;
  readonly update: (vector: string) => string;
}

const REGISTERS = 12;

export const REGISTER_LOOPS: readonly RegisterLoop[] = [
  {
    name: 'multiply_add',
    operations: 8,
    relaxed: false,
    update: (x) => `(f32x4.add (local.get $v) (f32x4.mul ${x} (local.get $v)))`,
  },
  {
    name: 'dot_i16',
    operations: 16,
    relaxed: false,
    update: (x) => `(i32x4.add (local.get $v) (i32x4.dot_i16x8_s ${x} (local.get $v)))`,
  },
  {
    name: 'fused_multiply_add',
    operations: 8,
    relaxed: true,
    update: (x) => `(f32x4.relaxed_madd ${x} (local.get $v) (local.get $v))`,
  },
  {
    name: 'dot_i7',
    operations: 32,
    relaxed: true,
    update: (x) => `(i32x4.relaxed_dot_i8x16_i7x16_add_s ${x} (local.get $v) ${x})`,
  },
];

/** Operations of one step of a loop. */
export function stepOperations({ operations }: RegisterLoop): number {
  return REGISTERS * operations;
}

/** A module that exports the loops as `(steps: i32, x: f32) → i32`; x (0.5, say) is the value of every lane. */
export function registerModule(loops: readonly RegisterLoop[]): string {
  return `(module ${loops.map(loopText).join('\n')})`;
}

function loopText({ name, update }: RegisterLoop): string {
  const vectors = Array.from({ length: REGISTERS }, (_, i) => `$r${i}`);
  const get = (vector: string) => `(local.get ${vector})`;
  // No two start alike, so that none can be left out as a copy of another.
  const start = vectors.map(
    (vector, i) =>
      `(local.set ${vector} (f32x4.add ${get(vectors[i - 1] ?? '$v')} (f32x4.splat (f32.const ${i + 1}))))`,
  );
  const sum = vectors.map(get).reduce((left, right) => `(v128.xor ${left} ${right})`);
  return `(func (export "${name}") (param $steps i32) (param $x f32) (result i32)
    (local $v v128) ${vectors.map((vector) => `(local ${vector} v128)`).join(' ')}
    (local.set $v (f32x4.splat (local.get $x)))
    ${start.join('\n')}
    (loop $next
      ${vectors.map((vector) => `(local.set ${vector} ${update(get(vector))})`).join('\n')}
      (br_if $next (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
    (i32x4.extract_lane 0 ${sum}))`;
}
