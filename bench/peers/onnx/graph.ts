import { closeSync, openSync, renameSync, writeSync } from 'node:fs';
import {
  type Attribute,
  type DataType,
  type Message,
  modelProto,
  nodeProto,
  tensorProto,
  valueProto,
} from './proto.js';
import { quantizeBlocks4, quantizeDynamic8 } from './quantize.js';

/** How a graph holds its matrices: as they are, as `quantize_dynamic` makes them, or in blocks of 32 four-bit values. */
export type GraphDtype = 'float32' | 'int8' | 'int4';

/** A matrix [N, K] of a linear layer. */
export interface Matrix {
  readonly name: string;
  readonly N: number;
  readonly K: number;
  readonly values: Float32Array;
}

/** An ONNX graph, node by node; every node's output is its name. */
export class Graph {
  readonly dtype: GraphDtype;
  #nodes: Message[] = [];
  #initializers: Message[] = [];
  #inputs: Message[] = [];
  #outputs: Message[] = [];
  #known = new Set<string>();
  #count = 0;

  constructor(dtype: GraphDtype) {
    this.dtype = dtype;
  }

  input(name: string, type: DataType, dims: readonly (number | string)[]): string {
    this.#inputs.push(valueProto(name, type, dims));
    return name;
  }

  output(name: string, type: DataType, dims: readonly (number | string)[]): void {
    this.#outputs.push(valueProto(name, type, dims));
  }

  /** A constant; one of the same name is the same. */
  tensor(name: string, type: DataType, dims: readonly number[], data: () => ArrayBufferView): string {
    if (!this.#known.has(name)) this.#initializers.push(tensorProto(name, type, dims, data()));
    this.#known.add(name);
    return name;
  }

  floats(name: string, values: Float32Array, dims: readonly number[] = [values.length]): string {
    return this.tensor(name, 'FLOAT', dims, () => values);
  }

  integers(...values: number[]): string {
    const data = () => BigInt64Array.from(values, BigInt);
    return this.tensor(`int64 ${values}`, 'INT64', [values.length], data);
  }

  /** @returns the output's name */
  node(op: string, inputs: readonly string[], attributes: Readonly<Record<string, Attribute>> = {}): string {
    return this.nodes(op, inputs, [`${op}_${this.#count++}`], attributes)[0];
  }

  nodes(
    op: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes: Readonly<Record<string, Attribute>> = {},
  ): readonly string[] {
    this.#nodes.push(
      nodeProto(op, inputs, outputs, attributes, OWN_OPERATORS.has(op) ? 'com.microsoft' : ''),
    );
    return outputs;
  }

  /** x [.., K] times the matrix, [.., N], plus the bias. */
  linear(x: string, matrix: Matrix, bias?: Float32Array): string {
    const product = { float32: this.#product, int8: this.#product8, int4: this.#product4 }[this.dtype];
    const out = product.call(this, x, matrix);
    return bias ? this.node('Add', [out, this.floats(`${matrix.name} bias`, bias)]) : out;
  }

  /** Writes the model to a file, under another name until it is whole. */
  write(path: string): void {
    const parts = {
      nodes: this.#nodes,
      initializers: this.#initializers,
      inputs: this.#inputs,
      outputs: this.#outputs,
    };
    const file = openSync(`${path}.part`, 'w');
    for (const part of modelProto(parts).parts)
      for (let at = 0; at < part.length; ) at += writeSync(file, part, at);
    closeSync(file);
    renameSync(`${path}.part`, path);
  }

  #product(x: string, { name, N, K, values }: Matrix): string {
    return this.node('MatMul', [x, this.tensor(name, 'FLOAT', [K, N], () => transposed(values, N, K))]);
  }

  /** The nodes that onnxruntime's `quantize_dynamic` puts in a MatMul's place; one quantisation serves all users of x. */
  #product8(x: string, { name, N, K, values }: Matrix): string {
    const [xq, xScale, xZero] = [`${x} q`, `${x} scale`, `${x} zero`];
    if (!this.#known.has(xq)) this.nodes('DynamicQuantizeLinear', [x], [xq, xScale, xZero]);
    this.#known.add(xq);
    const { data, scale } = quantizeDynamic8(values);
    const wq = this.tensor(`${name} q`, 'INT8', [K, N], () => transposed(data, N, K));
    const wScale = this.tensor(`${name} scale`, 'FLOAT', [], () => Float32Array.of(scale));
    const wZero = this.tensor(`${name} zero`, 'INT8', [], () => Int8Array.of(0));
    const sum = this.node('MatMulInteger', [xq, wq, xZero, wZero]);
    const scales = this.node('Mul', [xScale, wScale]);
    return this.node('Mul', [this.node('Cast', [sum], { to: 1 }), scales]);
  }

  #product4(x: string, { name, N, K, values }: Matrix): string {
    const { data, scales } = quantizeBlocks4(values, N, K);
    const blocks = K / 32;
    const w = this.tensor(`${name} q4`, 'UINT8', [N, blocks, 16], () => data);
    const s = this.floats(`${name} scales`, scales, [N * blocks]);
    return this.node('MatMulNBits', [x, w, s], { K, N, bits: 4, block_size: 32, accuracy_level: 4 });
  }
}

const OWN_OPERATORS = new Set(['FastGelu', 'GroupQueryAttention', 'MatMulNBits']);

function transposed<T extends Float32Array | Int8Array>(values: T, N: number, K: number): T {
  const out = new (values.constructor as new (length: number) => T)(values.length);
  for (let n = 0; n < N; n++) for (let k = 0; k < K; k++) out[k * N + n] = values[n * K + k];
  return out;
}
