#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { SmolVLMError } from '../errors.js';
import { UsageError } from './arguments.js';
import { type HelpPage, printHelp } from './help.js';
import { nearest } from './suggestion.js';

const HELP: HelpPage = {
  usage: ['smolvlm COMMAND [options]', 'smolvlm COMMAND --help'],
  about: ['SmolVLM vision-language models in WebAssembly.'],
  sections: [
    {
      title: 'Commands',
      rows: [
        ['describe PATH…', 'answers a question about pictures, folders of pictures and videos'],
        ['chat [PICTURE…]', 'a conversation about pictures and videos'],
        ['download ORG/NAME', 'fetches a checkpoint from the Hugging Face hub into the cache'],
        ['info MODEL', 'what a checkpoint holds and the memory it needs'],
        ['quantize MODEL OUT_DIR', 'a smaller copy of a checkpoint'],
        ['parity MODEL GOLDEN', 'compares a checkpoint’s numbers with the reference’s'],
      ],
    },
    {
      title: 'Options',
      rows: [
        ['-V, --version', 'the version'],
        ['-h, --help', 'this help, or a command’s'],
      ],
    },
  ],
  examples: [
    'smolvlm download HuggingFaceTB/SmolVLM-256M-Instruct',
    'smolvlm describe photo.jpg --model HuggingFaceTB/SmolVLM-256M-Instruct',
    'smolvlm describe photos/ --output results.jsonl --prompt "Which shapes are there?"',
    'smolvlm chat photo.jpg --model ./SmolVLM-256M-Instruct',
    'smolvlm info ./SmolVLM-256M-Instruct',
    'smolvlm quantize ./SmolVLM-256M-Instruct ./SmolVLM-256M-int8 --dtype int8',
  ],
};

type Command = (args: string[]) => Promise<number>;

/** Each is read when it is called: help and mistakes are answered at once. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  describe: async () => (await import('./describe.js')).describeCommand,
  chat: async () => (await import('./chat.js')).chatCommand,
  download: async () => (await import('./download.js')).downloadCommand,
  info: async () => (await import('./info.js')).infoCommand,
  parity: async () => (await import('./parity.js')).parityCommand,
  quantize: async () => (await import('./quantize.js')).quantizeCommand,
};

// A reader that has seen enough (`| head`) is no error: the rest of the output goes nowhere, reports are still written.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});
process.exitCode = await main(process.argv.slice(2));

/** Exit codes: 0 done, 1 it failed, 2 it was called wrongly, 130 interrupted. */
async function main([name, ...rest]: string[]): Promise<number> {
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    printHelp(HELP);
    return name === undefined ? 2 : 0;
  }
  if (name === '--version' || name === '-V') {
    process.stdout.write(`${version()}\n`);
    return 0;
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (!command) {
    const known = Object.keys(COMMANDS);
    const near = nearest(name, known);
    const hint = near ? `; did you mean ${near}?` : `; there are ${known.join(', ')}`;
    process.stderr.write(`smolvlm: there is no command '${name}'${hint}\n`);
    return 2;
  }
  try {
    return await (await command())(rest);
  } catch (error) {
    return report(name, error);
  }
}

/** Errors that were foreseen are one line; anything else is a defect, and its stack helps to find it. */
function report(name: string, error: unknown): number {
  if (error instanceof UsageError) {
    process.stderr.write(`smolvlm ${name}: ${error.message}\nTry 'smolvlm ${name} --help'.\n`);
    return 2;
  }
  if (error instanceof Error && error.name === 'AbortError') return 130;
  const foreseen = error instanceof SmolVLMError;
  const text = foreseen ? `${error.name}: ${error.message}` : String((error as Error)?.stack ?? error);
  process.stderr.write(`smolvlm ${name}: ${text}\n`);
  return 1;
}

function version(): string {
  // dist/cli/main.js and build/src/cli/main.js lie at different depths below package.json.
  for (const depth of ['../../', '../../../']) {
    try {
      const json = JSON.parse(readFileSync(new URL(`${depth}package.json`, import.meta.url), 'utf8'));
      if (json.name === 'smolvlm-wasm') return json.version;
    } catch {}
  }
  return 'unknown';
}
