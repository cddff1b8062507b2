/** What the commands do that are no answers. */
import { open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import type { AnswerResult } from '../../chat/answer.js';
import type { MediaPiece } from '../../chat/content.js';
import { InputError } from '../../errors.js';
import { detectFormat } from '../../processing/index.js';
import type { Paint } from '../colors.js';
import { isUrl } from '../inputs.js';
import { count, seconds } from '../terminal.js';
import { printable, stringWidth, wrap } from '../text-width.js';
import { COMMANDS, type CommandName } from './commands.js';
import { type Conversation, mediaOf, textOf } from './conversation.js';
import { mediaPath, pieceOf } from './media-words.js';

/** Where a person reads. */
export interface Screen {
  columns: number;
  paint: Paint;
  /** Something by the way. */
  note(text: string): void;
  error(text: string): void;
  /** What was asked for. */
  show(text: string): void;
}

export class ChatCommands {
  readonly #conversation: Conversation;
  readonly #screen: Screen;

  constructor(conversation: Conversation, screen: Screen) {
    this.#conversation = conversation;
    this.#screen = screen;
  }

  /** @throws InputError, CheckpointError for files that cannot be used */
  async run(name: Exclude<CommandName, '/quit' | '/retry' | '/edit'>, argument: string): Promise<void> {
    switch (name) {
      case '/image':
      case '/video':
        if (!this.#has(name, argument)) return;
        return this.attach(pieceOf(mediaPath(argument), name === '/image' ? 'image' : 'video'));
      case '/system':
        return this.#system(argument);
      case '/undo':
        return this.#undo();
      case '/reset':
        this.#conversation.reset();
        return this.#screen.note('begun anew');
      case '/history':
        return this.#history();
      case '/usage':
        return this.#usage();
      case '/save':
        return this.#has(name, argument) ? this.#save(mediaPath(argument)) : undefined;
      case '/load':
        return this.#has(name, argument) ? this.#load(mediaPath(argument)) : undefined;
      case '/help':
        return this.#help();
    }
  }

  /** @throws InputError for a file that is no picture or video */
  async attach(piece: MediaPiece): Promise<void> {
    const { path, url } = piece as { path?: string; url?: string };
    if (path !== undefined) await checkMedia(path, piece.type);
    this.#conversation.attached.push(piece);
    this.#screen.note(`${printable(path ?? String(url))} goes with the next question`);
  }

  /** The command that the last question is edited by. */
  editLine(): string | undefined {
    const { question } = this.#conversation;
    if (question) return `/edit ${textOf(question).replace(/\s*\n\s*/g, ' ')}`;
    this.#screen.error('there is no question yet');
    return undefined;
  }

  #has(name: CommandName, argument: string): boolean {
    if (argument === '') this.#screen.error(`${name}: expected ${COMMANDS[name][0]}`);
    return argument !== '';
  }

  #system(text: string): void {
    if (text !== '') this.#conversation.system = text === '-' ? undefined : text;
    const { system } = this.#conversation;
    this.#screen.note(
      system === undefined ? 'nothing is said before the conversation' : `system: ${printable(system)}`,
    );
  }

  #undo(): void {
    const question = this.#conversation.undo();
    if (question) this.#screen.note(`taken back: ${this.#shown(question)}`);
    else this.#screen.error('there is no question yet');
  }

  #shown(message: Parameters<typeof textOf>[0]): string {
    const media = mediaOf(message).map((source) => `[${source}] `);
    return printable(`${media.join('')}${textOf(message)}`);
  }

  #history(): void {
    const { messages } = this.#conversation;
    if (messages.length === 0) this.#screen.note('nothing was said yet');
    const names: Record<string, string> = { user: 'You', assistant: 'SmolVLM', system: 'System' };
    for (const message of messages) {
      const name = names[message.role] ?? message.role;
      const text = wrap(this.#shown(message), this.#screen.columns, name.length + 2);
      this.#screen.show(`${this.#screen.paint('bold', `${name}:`)} ${text}`);
    }
  }

  #usage(): void {
    const { last } = this.#conversation;
    if (last) this.#showUsage(last);
    else this.#screen.note('there is no whole answer yet');
  }

  #showUsage({ usage, timings }: AnswerResult): void {
    const rows = [
      ['prompt', `${count(usage.prompt_tokens, 'token')}, ${usage.cached_tokens} of them known from before`],
      ['answer', count(usage.completion_tokens, 'token')],
      ['pictures', `${count(usage.tiles, 'tile')}, ${usage.tiles_encoded} encoded for this answer`],
      ['processing', seconds(timings.processing_ms)],
      ['first token', `after ${seconds(timings.first_token_ms)}`],
      [
        'whole answer',
        `${seconds(timings.total_ms)}, ${timings.tokens_per_second.toFixed(1)} tokens a second`,
      ],
    ];
    for (const [name, value] of rows) this.#screen.show(`${name.padEnd(14)}${value}`);
  }

  async #save(path: string): Promise<void> {
    const bytes = await this.#conversation.save();
    await refuseForeign(path);
    const temporary = `${path}.${process.pid}.tmp`;
    try {
      await writeFile(temporary, bytes);
      await rename(temporary, path);
    } catch (cause) {
      await rm(temporary, { force: true });
      throw fileError('the conversation cannot be saved', path, 'a file that can be written', cause);
    }
    this.#screen.note(`saved: ${printable(path)}`);
  }

  async #load(path: string): Promise<void> {
    const bytes = await readFile(path).catch((cause) => {
      throw fileError('the conversation cannot be read', path, 'a saved conversation', cause);
    });
    await this.#conversation.load(new Uint8Array(bytes));
    this.#screen.note(`loaded: ${count(this.#conversation.messages.length, 'message')}; /history shows them`);
  }

  #help(): void {
    const { columns, paint, show } = this.#screen;
    for (const [name, [argument, meaning]] of Object.entries(COMMANDS)) {
      const head = `${paint('cyan', name)} ${argument}`;
      const space = ' '.repeat(Math.max(16 - stringWidth(head), 1));
      show(`${head}${space}${wrap(meaning, Math.max(columns, 40), 16)}`);
    }
    show('');
    const notes = [
      'A picture or video named in a question goes with it: what is in photo.jpg?',
      'A backslash at the end of a line goes on in the next one. Ctrl-C stops an answer, Ctrl-D leaves.',
    ];
    for (const note of notes) show(wrap(note, columns));
  }
}

/** @throws InputError unless the file begins like a picture; for videos, unless there is something */
export async function checkMedia(path: string, type: MediaPiece['type']): Promise<void> {
  if (isUrl(path)) return;
  const what = `the ${type === 'video' ? 'video' : 'picture'} cannot be used`;
  if (type === 'video') {
    await stat(path).catch((cause) => {
      throw fileError(what, path, 'a file, or a folder of frames', cause);
    });
    return;
  }
  const start = await firstBytes(path).catch((cause) => {
    throw fileError(what, path, 'a JPEG or PNG file', cause);
  });
  const format = detectFormat(start);
  if (format === 'JPEG' || format === 'PNG') return;
  throw new InputError({
    what,
    where: path,
    expected: 'a JPEG or PNG file',
    got: format ?? 'something else',
  });
}

async function firstBytes(path: string): Promise<Uint8Array> {
  const handle = await open(path);
  try {
    const start = new Uint8Array(64);
    const { bytesRead } = await handle.read(start, 0, 64, 0);
    return start.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

/** Saving writes over saved conversations only. @throws InputError */
async function refuseForeign(path: string): Promise<void> {
  const handle = await open(path).catch(() => undefined);
  if (!handle) return;
  try {
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(4096), 0, 4096, 0);
    if (bytesRead === 0 || buffer.subarray(0, bytesRead).includes('smolvlm-session/')) return;
  } finally {
    await handle.close();
  }
  const expected = 'a new file, or a saved conversation';
  throw new InputError({
    what: 'the file would be written over',
    where: path,
    expected,
    got: 'another file',
  });
}

function fileError(what: string, where: string, expected: string, cause: unknown): InputError {
  return new InputError({
    what,
    where,
    expected,
    got: (cause as NodeJS.ErrnoException).code ?? String(cause),
    cause,
  });
}
