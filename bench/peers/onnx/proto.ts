/**
 * The few protobuf messages of ONNX that a graph takes (onnx.proto's field numbers), written without a copy of the weights.
 * @see https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
 */

/** TensorProto.DataType. */
export const DATA_TYPES = { FLOAT: 1, UINT8: 2, INT8: 3, INT32: 6, INT64: 7 } as const;
export type DataType = keyof typeof DATA_TYPES;

export type Attribute = number | string | readonly number[] | { readonly float: number };

const ATTRIBUTE_TYPES = { FLOAT: 1, INT: 2, STRING: 3, INTS: 7 } as const;

/** A message as the parts of its bytes. */
export class Message {
  readonly parts: Uint8Array[] = [];
  length = 0;

  integer(field: number, value: number): this {
    return this.#tag(field, 0).#varint(value);
  }

  float(field: number, value: number): this {
    return this.#tag(field, 5).#push(new Uint8Array(Float32Array.of(value).buffer));
  }

  text(field: number, value: string): this {
    return this.bytes(field, new TextEncoder().encode(value));
  }

  bytes(field: number, value: Uint8Array): this {
    return this.#tag(field, 2).#varint(value.length).#push(value);
  }

  message(field: number, value: Message): this {
    this.#tag(field, 2).#varint(value.length);
    for (const part of value.parts) this.#push(part);
    return this;
  }

  #tag(field: number, wire: number): this {
    return this.#varint(field * 8 + wire);
  }

  /** Negative numbers as the format has them: 64 bits of two's complement. */
  #varint(value: number): this {
    const bytes: number[] = [];
    let rest = BigInt.asUintN(64, BigInt(value));
    for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
    bytes.push(Number(rest));
    return this.#push(Uint8Array.from(bytes));
  }

  #push(part: Uint8Array): this {
    this.parts.push(part);
    this.length += part.length;
    return this;
  }
}

export function nodeProto(
  op: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: Readonly<Record<string, Attribute>>,
  domain: string,
): Message {
  const node = new Message();
  for (const input of inputs) node.text(1, input);
  for (const output of outputs) node.text(2, output);
  node.text(3, outputs[0]).text(4, op);
  for (const [name, value] of Object.entries(attributes)) node.message(5, attributeProto(name, value));
  return domain ? node.text(7, domain) : node;
}

/** A plain number is an integer; a float says so. */
function attributeProto(name: string, value: Attribute): Message {
  const attribute = new Message().text(1, name);
  if (typeof value === 'number') return attribute.integer(3, value).integer(20, ATTRIBUTE_TYPES.INT);
  if (typeof value === 'string') return attribute.text(4, value).integer(20, ATTRIBUTE_TYPES.STRING);
  if ('float' in value) return attribute.float(2, value.float).integer(20, ATTRIBUTE_TYPES.FLOAT);
  for (const item of value) attribute.integer(8, item);
  return attribute.integer(20, ATTRIBUTE_TYPES.INTS);
}

export function tensorProto(
  name: string,
  type: DataType,
  dims: readonly number[],
  data: ArrayBufferView,
): Message {
  const tensor = new Message();
  for (const size of dims) tensor.integer(1, size);
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return tensor.integer(2, DATA_TYPES[type]).text(8, name).bytes(9, bytes);
}

/** An input or output; a dimension with a name may have any size. */
export function valueProto(name: string, type: DataType, dims: readonly (number | string)[]): Message {
  const shape = new Message();
  for (const size of dims) {
    const dimension = new Message();
    shape.message(1, typeof size === 'number' ? dimension.integer(1, size) : dimension.text(2, size));
  }
  const tensor = new Message().integer(1, DATA_TYPES[type]).message(2, shape);
  return new Message().text(1, name).message(2, new Message().message(1, tensor));
}

export interface GraphParts {
  readonly nodes: readonly Message[];
  readonly initializers: readonly Message[];
  readonly inputs: readonly Message[];
  readonly outputs: readonly Message[];
}

/** ModelProto with opset 17 and onnxruntime's own operators. */
export function modelProto({ nodes, initializers, inputs, outputs }: GraphParts): Message {
  const graph = new Message();
  for (const node of nodes) graph.message(1, node);
  graph.text(2, 'graph');
  for (const tensor of initializers) graph.message(5, tensor);
  for (const input of inputs) graph.message(11, input);
  for (const output of outputs) graph.message(12, output);
  const opset = (domain: string, version: number) => new Message().text(1, domain).integer(2, version);
  return new Message()
    .integer(1, 8)
    .text(2, 'smolvlm-wasm bench')
    .message(7, graph)
    .message(8, opset('', 17))
    .message(8, opset('com.microsoft', 1));
}
