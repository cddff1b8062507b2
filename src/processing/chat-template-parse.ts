/** Jinja templates, parsed, with the filters as Python's Jinja has them. */
import { Template } from '@huggingface/jinja';

/** The template used last, parsed: a checkpoint has one. */
let last: { text: string; template: Template } | undefined;

export function parseTemplate(text: string): Template {
  if (last?.text !== text) {
    const template = new Template(text);
    lowerBeforeCapitalize(template.parsed);
    last = { text, template };
  }
  return last.template;
}

interface Node {
  type: string;
  [key: string]: unknown;
}

/**
 * Python's `capitalize` makes every letter after the first small, @huggingface/jinja's leaves them: in the tree, what is
 * capitalized passes through `lower` first, as a filter and as a method.
 */
function lowerBeforeCapitalize(value: unknown): void {
  if (Array.isArray(value)) {
    for (const item of value) lowerBeforeCapitalize(item);
    return;
  }
  if (typeof value !== 'object' || value === null) return;
  if (value instanceof Map) {
    for (const entry of value) lowerBeforeCapitalize(entry);
    return;
  }
  for (const child of Object.values(value)) lowerBeforeCapitalize(child);
  const node = value as Node;
  if (node.type === 'FilterExpression' && isCapitalize(node.filter)) {
    node.operand = lowered(node.operand);
  } else if (node.type === 'MemberExpression' && node.computed === false && isCapitalize(node.property)) {
    node.object = lowered(node.object);
  }
}

function isCapitalize(node: unknown): boolean {
  const { type, value, callee } = node as Node;
  return (type === 'Identifier' && value === 'capitalize') || (callee !== undefined && isCapitalize(callee));
}

function lowered(operand: unknown): Node {
  return { type: 'FilterExpression', operand, filter: { type: 'Identifier', value: 'lower' } };
}
