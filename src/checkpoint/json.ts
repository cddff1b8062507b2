/**
 * A strict JSON reader for safetensors headers and shard indexes. `JSON.parse` would do but for two things that such a
 * file can lie with: it hides names given twice, and rounds integers beyond 2^53.
 */
export type StrictJson = null | boolean | string | JsonNumber | StrictJson[] | Map<string, StrictJson>;

/** A number as it was written, so that `2.0`, `2` and 2^60 stay apart. */
export class JsonNumber {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  /** The value of a plain non-negative integer up to 2^53 − 1, else undefined. */
  get unsigned(): number | undefined {
    if (!/^(0|[1-9][0-9]*)$/.test(this.text)) return undefined;
    const value = Number(this.text);
    return Number.isSafeInteger(value) ? value : undefined;
  }
}

/** Where and why a text is not the JSON that was asked for. */
export class JsonError extends Error {
  readonly what: string;
  /** Characters from the start of the text. */
  readonly position: number;
  readonly expected: string;
  readonly got: string;

  constructor(what: string, position: number, expected: string, got: string) {
    super(`${what} at character ${position}: expected ${expected}, got ${got}`);
    this.what = what;
    this.position = position;
    this.expected = expected;
    this.got = got;
  }
}

/** Neither format nests more than three deep; the bound keeps the stack safe. */
const MAX_DEPTH = 16;

/** @throws JsonError for a syntax error, a name given twice in one object, or nesting deeper than 16. */
export function parseStrictJson(text: string): StrictJson {
  return new Parser(text).document();
}

class Parser {
  #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): StrictJson {
    const value = this.#value(0);
    this.#blank();
    if (this.#at < this.#text.length) this.#fail('JSON is malformed', 'the end');
    return value;
  }

  #value(depth: number): StrictJson {
    if (depth > MAX_DEPTH) this.#fail('JSON is nested too deeply', `at most ${MAX_DEPTH} levels`);
    this.#blank();
    const character = this.#text[this.#at];
    if (character === '{') return this.#object(depth);
    if (character === '[') return this.#array(depth);
    if (character === '"') return this.#string();
    return this.#literal();
  }

  #object(depth: number): Map<string, StrictJson> {
    const object = new Map<string, StrictJson>();
    this.#at++;
    this.#blank();
    if (this.#text[this.#at] === '}') {
      this.#at++;
      return object;
    }
    for (;;) {
      this.#blank();
      const start = this.#at;
      const name = this.#string();
      if (object.has(name))
        throw new JsonError('name given twice', start, 'each name once', `"${name}" again`);
      this.#blank();
      if (this.#text[this.#at++] !== ':') this.#fail('JSON is malformed', "':'", this.#at - 1);
      object.set(name, this.#value(depth + 1));
      if (this.#separator('}')) return object;
    }
  }

  #array(depth: number): StrictJson[] {
    const array: StrictJson[] = [];
    this.#at++;
    this.#blank();
    if (this.#text[this.#at] === ']') {
      this.#at++;
      return array;
    }
    for (;;) {
      array.push(this.#value(depth + 1));
      if (this.#separator(']')) return array;
    }
  }

  /** Steps over a comma (false) or the closing bracket (true). */
  #separator(close: string): boolean {
    this.#blank();
    const character = this.#text[this.#at++];
    if (character === close) return true;
    if (character !== ',') this.#fail('JSON is malformed', `',' or '${close}'`, this.#at - 1);
    return false;
  }

  #string(): string {
    const start = this.#at;
    if (this.#text[start] !== '"') this.#fail('JSON is malformed', 'a string');
    let end = start + 1;
    let escaped = false;
    for (; ; end++) {
      const code = this.#text.charCodeAt(end);
      if (code === 0x22) break;
      if (code === 0x5c) {
        escaped = true;
        end++;
      }
      if (!(code >= 0x20)) this.#fail('JSON is malformed', 'a closing quote', end);
    }
    this.#at = end + 1;
    if (!escaped) return this.#text.slice(start + 1, end);
    try {
      const value: string = JSON.parse(this.#text.slice(start, end + 1));
      if (!/\p{Surrogate}/u.test(value)) return value;
    } catch {}
    return this.#fail('JSON is malformed', 'valid escapes in the string', start);
  }

  #literal(): StrictJson {
    const pattern = /true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
    pattern.lastIndex = this.#at;
    const text = pattern.exec(this.#text)?.[0];
    if (text === undefined) return this.#fail('JSON is malformed', 'a value');
    this.#at += text.length;
    if (text === 'null') return null;
    if (text === 'true' || text === 'false') return text === 'true';
    return new JsonNumber(text);
  }

  #blank(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.#at++;
    }
  }

  #fail(what: string, expected: string, at = this.#at): never {
    const got = at < this.#text.length ? JSON.stringify(this.#text.slice(at, at + 16)) : 'the end';
    throw new JsonError(what, at, expected, got);
  }
}
