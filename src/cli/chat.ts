import { basename } from 'node:path';
import { readArguments } from './arguments.js';
import { checkMedia } from './chat/command-actions.js';
import { COMMAND_NAMES } from './chat/commands.js';
import { complete } from './chat/completion.js';
import { Conversation } from './chat/conversation.js';
import { HistoryFile, historyPath } from './chat/history-file.js';
import type { LineSource } from './chat/lines.js';
import { pieceOf } from './chat/media-words.js';
import { PipeLines } from './chat/pipe-lines.js';
import { Repl } from './chat/repl.js';
import { TerminalLines } from './chat/terminal-lines.js';
import { paintFor } from './colors.js';
import { GENERATION_OPTIONS, generationHelp, readGenerationOptions } from './generation-options.js';
import { type HelpPage, printHelp } from './help.js';
import { HUB_HELP } from './hub-options.js';
import { Interrupt } from './interrupt.js';
import { loadModel, MODEL_HELP, MODEL_OPTIONS, type ModelChoice, readModelOptions } from './model-options.js';
import { ProgressLine } from './terminal.js';
import { printable } from './text-width.js';

const MAX_NEW_TOKENS = 512;

const HELP: HelpPage = {
  usage: ['smolvlm chat [PICTURE…] [options]'],
  about: [
    'A conversation about pictures and videos. What was computed for earlier turns is kept: a second question about a picture is answered without encoding it again.',
  ],
  sections: [
    {
      title: 'The conversation',
      rows: [
        ['PICTURE…', 'pictures (JPEG, PNG) or videos that go with the first question: files or URLs'],
        ['--no-history', 'neither read nor keep the lines that are typed'],
      ],
    },
    generationHelp(MAX_NEW_TOKENS),
    MODEL_HELP,
    HUB_HELP,
  ],
  notes: [
    'In a question, a word that is a picture’s or video’s file goes with it; /help lists the commands. Ctrl-C stops an answer, Ctrl-D leaves.',
    'Where the input is no terminal, each line is a question, and the answers alone are written to the output. Exit status: 0 all went well, 1 a question could not be answered, 2 wrong usage, 130 interrupted.',
  ],
  examples: [
    'smolvlm chat photo.jpg --model ./SmolVLM-256M-Instruct',
    'smolvlm chat --system "Answer in one sentence." --temperature 0.7',
    'echo "What is in photo.jpg?" | smolvlm chat --model ./SmolVLM-256M-Instruct',
  ],
};

/** `smolvlm chat`: a conversation, on a terminal or line by line from a pipe. */
export async function chatCommand(args: string[]): Promise<number> {
  const { values, positionals } = readArguments(args, {
    help: { type: 'boolean', short: 'h' },
    'no-history': { type: 'boolean' },
    ...GENERATION_OPTIONS,
    ...MODEL_OPTIONS,
  });
  if (values.help) return printHelp(HELP);
  const generation = readGenerationOptions(values, MAX_NEW_TOKENS);
  const model = readModelOptions(values);
  const attached = positionals.map((path) => pieceOf(path));
  for (const [i, { type }] of attached.entries()) await checkMedia(positionals[i], type);
  const interrupt = new Interrupt();
  const vlm = await loadModel(model, new ProgressLine(), interrupt.signal).finally(() => interrupt.release());
  const conversation = new Conversation(vlm, { ...generation.options, system: generation.system });
  conversation.attached = attached;
  const interactive = process.stdin.isTTY === true;
  // Answers may go to a pipe while somebody types.
  const screen = process.stdout.isTTY ? process.stdout : process.stderr;
  const lines = interactive
    ? await terminalLines(screen, values['no-history'] !== true)
    : new PipeLines(process.stdin);
  if (interactive) greet(screen, model);
  try {
    const notes = interactive ? screen : process.stderr;
    const repl = new Repl(conversation, {
      lines,
      output: process.stdout,
      notes,
      interrupts: process,
      interactive,
    });
    return await repl.run();
  } finally {
    lines.close();
    vlm.dispose();
  }
}

async function terminalLines(screen: NodeJS.WriteStream, keep: boolean): Promise<LineSource> {
  const file = keep ? new HistoryFile(historyPath()) : undefined;
  let isTold = false;
  return new TerminalLines(process.stdin, screen, {
    history: await file?.read(),
    completer: (line, done) => void complete(line, COMMAND_NAMES).then((hits) => done(null, hits)),
    onLine: (line) =>
      void file?.add(line).catch((error: Error) => {
        if (!isTold) screen.write(`${paintFor(screen)('dim', `lines are not kept: ${error.message}`)}\n`);
        isTold = true;
      }),
  });
}

function greet(screen: NodeJS.WriteStream, { name }: ModelChoice): void {
  const paint = paintFor(screen);
  const title = paint('bold', printable(basename(name)));
  screen.write(`${title}${paint('dim', ' · /help for commands, Ctrl-D to leave')}\n`);
}
