import { type Snapshot, snapshot_download } from '../checkpoint/hub/snapshot.js';
import { readArguments, UsageError } from './arguments.js';
import { downloadProgress } from './download-progress.js';
import { type HelpPage, printHelp } from './help.js';
import { HUB_HELP, HUB_OPTIONS, readHubOptions } from './hub-options.js';
import { Interrupt } from './interrupt.js';
import { megabytes, ProgressLine } from './terminal.js';

const HELP: HelpPage = {
  usage: ['smolvlm download ORG/NAME [--revision R] [--include GLOB]… [options]'],
  about: [
    'Fetches a checkpoint from the Hugging Face hub into the cache.',
    'Every command that takes --model takes the name afterwards, online or not. The cache is Python’s: what transformers has downloaded is there already. A broken download goes on where it ended; each file is verified before it counts.',
  ],
  sections: [
    {
      title: 'Options',
      rows: [
        ['ORG/NAME', 'a repository of the hub'],
        ['--include GLOB', 'fetch files that match instead of the checkpoint’s; may be given several times'],
        ['--force', 'fetch files anew that are there'],
        ['--dry-run', 'list what would be fetched'],
        ['-q, --quiet', 'no progress'],
        ['--json', 'print a JSON object with the files instead of the folder alone'],
      ],
    },
    HUB_HELP,
  ],
  notes: [
    'Prints the snapshot’s folder.',
    'Exit status: 0 all is there, 1 it failed, 2 wrong usage, 130 interrupted.',
  ],
  examples: [
    'smolvlm download HuggingFaceTB/SmolVLM-256M-Instruct',
    'smolvlm download HuggingFaceTB/SmolVLM-256M-Instruct --include "*.json" --dry-run',
    'smolvlm describe photo.jpg --model HuggingFaceTB/SmolVLM-256M-Instruct',
    'HF_ENDPOINT=https://hub.example smolvlm download my-org/my-fine-tune --revision v2',
  ],
};

/** `smolvlm download ORG/NAME`. */
export async function downloadCommand(args: string[]): Promise<number> {
  const { values, positionals } = readArguments(args, {
    help: { type: 'boolean', short: 'h' },
    ...HUB_OPTIONS,
    include: { type: 'string', multiple: true },
    force: { type: 'boolean' },
    'dry-run': { type: 'boolean' },
    quiet: { type: 'boolean', short: 'q' },
    json: { type: 'boolean' },
  });
  if (values.help) return printHelp(HELP);
  if (positionals.length !== 1) throw new UsageError(`expected one repository, got ${positionals.length}`);
  const interrupt = new Interrupt();
  const line = new ProgressLine();
  try {
    const snapshot = await snapshot_download(positionals[0], {
      ...readHubOptions(values),
      include: values.include,
      force_download: values.force,
      dry_run: values['dry-run'],
      signal: interrupt.signal,
      progress_callback: values.quiet ? undefined : downloadProgress(line),
    });
    line.clear();
    process.stdout.write(
      values.json ? `${JSON.stringify(snapshot, null, 2)}\n` : report(snapshot, values['dry-run']),
    );
    return 0;
  } finally {
    line.clear();
    interrupt.release();
  }
}

function report({ folder, files, commit }: Snapshot, dry = false): string {
  if (!dry) return `${folder}\n`;
  const rows = files.map(({ path, size, cached }) => {
    return `${(size === null ? '?' : megabytes(size)).padStart(10)}  ${cached ? 'cached' : 'fetch '}  ${path}\n`;
  });
  const missing = files.filter(({ cached }) => !cached);
  const bytes = missing.reduce((sum, { size }) => sum + (size ?? 0), 0);
  return `${rows.join('')}commit ${commit}: ${missing.length} of ${files.length} files to fetch, ${megabytes(bytes)}\n`;
}
