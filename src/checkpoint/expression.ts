/**
 * The small arithmetic of weights-manifest.json: non-negative integers, dotted names of config fields, + - * // (floor
 * division) ** and brackets, with Python's precedence. Nothing else, and no `eval`.
 */
export type ConfigValues = Readonly<Record<string, unknown>>;

/** @throws Error for a malformed expression or a field that is no number: the manifest is the library's own. */
export function evaluate(expression: string, config: ConfigValues): number {
  const tokens = expression.match(/\*\*|\/\/|[-+*()]|[0-9]+|[a-z_][a-z0-9_.]*|\S/g) ?? [];
  let at = 0;
  const take = (...operators: string[]) => (operators.includes(tokens[at]) ? tokens[at++] : undefined);

  const atom = (): number => {
    const token = tokens[at++];
    if (token === '(') {
      const value = sum();
      if (take(')') === undefined) throw malformed(expression);
      return value;
    }
    if (token !== undefined && /^[0-9]+$/.test(token)) return Number(token);
    if (token !== undefined && /^[a-z_]/.test(token)) return numberAt(token, config);
    throw malformed(expression);
  };
  const power = (): number => {
    const base = atom();
    return take('**') ? base ** power() : base;
  };
  const product = (): number => {
    let value = power();
    for (let operator = take('*', '//'); operator; operator = take('*', '//')) {
      const right = power();
      value = operator === '*' ? value * right : Math.floor(value / right);
    }
    return value;
  };
  const sum = (): number => {
    let value = product();
    for (let operator = take('+', '-'); operator; operator = take('+', '-')) {
      const right = product();
      value = operator === '+' ? value + right : value - right;
    }
    return value;
  };

  const value = sum();
  if (at !== tokens.length) throw malformed(expression);
  return value;
}

/** `field` or `not field`; an absent condition holds. */
export function holds(condition: string | undefined, config: ConfigValues): boolean {
  if (condition === undefined) return true;
  const negated = condition.startsWith('not ');
  const field = negated ? condition.slice(4) : condition;
  const value = valueAt(field, config);
  if (typeof value !== 'boolean') throw new Error(`manifest: config field ${field} is no boolean`);
  return value !== negated;
}

function numberAt(field: string, config: ConfigValues): number {
  const value = valueAt(field, config);
  if (typeof value === 'number') return value;
  throw new Error(`manifest: config field ${field} is no number`);
}

function valueAt(field: string, config: ConfigValues): unknown {
  let value: unknown = config;
  for (const name of field.split('.')) {
    value =
      typeof value === 'object' && value !== null && Object.hasOwn(value, name)
        ? (value as ConfigValues)[name]
        : undefined;
  }
  return value;
}

function malformed(expression: string): Error {
  return new Error(`manifest: malformed expression ${JSON.stringify(expression)}`);
}
