/** The conversation on a terminal or in a pipe: reads questions and commands, writes answers as they are made. */
import type { AnswerProgress } from '../../chat/ask.js';
import { SmolVLMError } from '../../errors.js';
import { stageOf } from '../answer-progress.js';
import { paintFor } from '../colors.js';
import { count, type ProgressStream } from '../terminal.js';
import { printable } from '../text-width.js';
import { ChatCommands, type Screen } from './command-actions.js';
import { type CommandName, parseCommand } from './commands.js';
import type { Conversation, Hooks, Outcome } from './conversation.js';
import type { LineSource } from './lines.js';
import { findMedia } from './media-words.js';
import { Spinner } from './spinner.js';

/** Where Ctrl-C comes from while no line is awaited: the process. */
export interface Interrupts {
  on(event: 'SIGINT', listener: () => void): unknown;
  off(event: 'SIGINT', listener: () => void): unknown;
}

export interface ReplStreams {
  lines: LineSource;
  /** Answers. */
  output: ProgressStream & { errored?: unknown };
  /** All else: notes, errors, progress. */
  notes: ProgressStream;
  interrupts: Interrupts;
  /** Whether somebody types: prompts, hints, and Ctrl-C stops answers; otherwise it ends the program. */
  interactive: boolean;
}

/** Ctrl-C where nobody types. */
const INTERRUPTED = 130;

export class Repl {
  readonly #conversation: Conversation;
  readonly #streams: ReplStreams;
  readonly #screen: Screen;
  readonly #commands: ChatCommands;
  /** What the next line begins with. */
  #initial = '';
  #failed = false;

  constructor(conversation: Conversation, streams: ReplStreams) {
    this.#conversation = conversation;
    this.#streams = streams;
    const { output, notes, interactive } = streams;
    const paint = paintFor(notes);
    this.#screen = {
      columns: notes.columns ?? 80,
      paint,
      note: (text) => void notes.write(`${paint('dim', text)}\n`),
      error: (text) => {
        this.#failed = true;
        notes.write(`${paint('red', text)}\n`);
      },
      show: (text) => void (interactive ? output : notes).write(`${text}\n`),
    };
    this.#commands = new ChatCommands(conversation, this.#screen);
  }

  /** @returns the exit status: where nobody types, 1 if anything failed */
  async run(): Promise<number> {
    const { lines, output, interactive } = this.#streams;
    let warned = false;
    for (;;) {
      const initial = this.#initial;
      this.#initial = '';
      const line = await lines.next(this.#prompt(), initial);
      if (line.type === 'end') break;
      if (line.type === 'interrupt') {
        if (warned && !line.typed) break;
        warned = !line.typed;
        if (warned) this.#screen.note('Ctrl-C again, Ctrl-D or /quit leaves');
        continue;
      }
      warned = false;
      const status = await this.#line(line.text.trim()).catch((error) => this.#report(error));
      if (status === 'quit') break;
      if (status === 'interrupted') return INTERRUPTED;
      // A reader that has seen enough (`| head`) needs no more answers.
      if (!interactive && output.errored) break;
    }
    return this.#failed && !interactive ? 1 : 0;
  }

  #prompt(): string {
    const { attached } = this.#conversation;
    const noun = attached.every(({ type }) => type === 'video') ? 'video' : 'picture';
    const media = attached.length === 0 ? '' : `(${count(attached.length, noun)}) `;
    return `${media}${this.#screen.paint('cyan', '>')} `;
  }

  /** What was foreseen is said, and the conversation goes on. */
  #report(error: unknown): undefined {
    if (!(error instanceof SmolVLMError)) throw error;
    this.#screen.error(printable(`${error.name}: ${error.message}`));
    if (error.what === 'the prompt is longer than the context')
      this.#screen.note('/undo and /reset make room');
    return undefined;
  }

  async #line(text: string): Promise<'quit' | 'interrupted' | undefined> {
    if (text === '') return undefined;
    const words = await findMedia(text);
    const command = parseCommand(text);
    // "/photo.png" may be a picture; no command is one.
    if (command?.type === 'unknown' && words.pieces.every((piece) => typeof piece === 'string')) {
      const hint = command.near ? `did you mean ${command.near}?` : '/help lists them';
      this.#screen.error(`there is no command ${printable(command.name)}; ${hint}`);
      return undefined;
    }
    if (command?.type === 'command') return this.#command(command.name, command.argument);
    for (const path of words.missing)
      this.#screen.note(`there is no file ${printable(path)}; it is sent as text`);
    if (words.pieces.every((piece) => typeof piece !== 'string')) {
      for (const piece of words.pieces) if (typeof piece !== 'string') await this.#commands.attach(piece);
      return undefined;
    }
    return this.#answer((hooks) => this.#conversation.ask(words.pieces, hooks));
  }

  async #command(name: CommandName, argument: string): Promise<'quit' | 'interrupted' | undefined> {
    switch (name) {
      case '/quit':
        return 'quit';
      case '/retry':
        return this.#answer((hooks) => this.#conversation.retry(hooks));
      case '/edit': {
        if (argument !== '') {
          const { pieces } = await findMedia(argument);
          return this.#answer((hooks) => this.#conversation.edit(pieces, hooks));
        }
        this.#initial = this.#commands.editLine() ?? '';
        return undefined;
      }
      default:
        await this.#commands.run(name, argument);
        return undefined;
    }
  }

  /** Writes an answer while it is made; Ctrl-C stops it. */
  async #answer(start: (hooks: Hooks) => Promise<Outcome>): Promise<'interrupted' | undefined> {
    const { output, notes, interrupts, interactive } = this.#streams;
    const controller = new AbortController();
    const stop = () => controller.abort();
    const spinner = new Spinner(notes);
    let written = false;
    const attached = this.#conversation.attached.length;
    const hooks: Hooks = {
      signal: controller.signal,
      progress_callback: (event: AnswerProgress) => {
        if (!written) spinner.show(stageOf(event));
      },
      piece: (text) => {
        spinner.stop();
        written = true;
        output.write(output.isTTY ? printable(text) : text);
      },
    };
    interrupts.on('SIGINT', stop);
    try {
      const outcome = await start(hooks);
      spinner.stop();
      if (written || outcome.type === 'whole') output.write('\n');
      if (outcome.type === 'stopped') {
        if (!interactive) return 'interrupted';
        this.#screen.note(
          outcome.text === '' ? 'stopped; the question is not kept' : 'stopped; what was said is kept',
        );
      } else if (outcome.result.finish_reason === 'length') {
        this.#screen.note(`ended after ${outcome.result.usage.completion_tokens} tokens (--max-new-tokens)`);
      }
      return undefined;
    } catch (error) {
      spinner.stop();
      if (written) output.write('\n');
      if (attached > this.#conversation.attached.length)
        this.#screen.note('what was attached is not any more');
      throw error;
    } finally {
      spinner.stop();
      interrupts.off('SIGINT', stop);
    }
  }
}
