/** Jinja templates, parsed, with the filters as Python's Jinja has them. */
import { Template } from '@huggingface/jinja';

/** The template used last, parsed: a checkpoint has one. */
let last: { text: string; template: Template } | undefined;

export function parseTemplate(text: string): Template {
  if (last?.text !== text) {
    const template = new Template(text);
    lowerBeforeCapitals(template.parsed);
    last = { text, template };
  }
  return last.template;
}

interface Node {
  type: string;
  [key: string]: unknown;
}

/**
 * Python's `capitalize` and `title` make every letter after the first small, @huggingface/jinja's leave them: in the tree,
 * what they take passes through `lower` first, as filters and as methods.
 */
function lowerBeforeCapitals(value: unknown): void {
  if (Array.isArray(value)) {
    for (const item of value) lowerBeforeCapitals(item);
    return;
  }
  if (typeof value !== 'object' || value === null) return;
  if (value instanceof Map) {
    for (const entry of value) lowerBeforeCapitals(entry);
    return;
  }
  for (const child of Object.values(value)) lowerBeforeCapitals(child);
  const node = value as Node;
  if (node.type === 'FilterExpression' && makesCapitals(node.filter)) {
    node.operand = lowered(node.operand);
  } else if (node.type === 'CallExpression') {
    const callee = node.callee as Node;
    const method = callee.type === 'MemberExpression' && callee.computed === false;
    if (method && makesCapitals(callee.property)) callee.object = lowered(callee.object);
  }
}

function makesCapitals(node: unknown): boolean {
  const { type, value, callee } = node as Node;
  return (
    (type === 'Identifier' && (value === 'capitalize' || value === 'title')) ||
    (callee !== undefined && makesCapitals(callee))
  );
}

function lowered(operand: unknown): Node {
  return { type: 'FilterExpression', operand, filter: { type: 'Identifier', value: 'lower' } };
}
