import { type Snapshot, snapshot_download } from '../checkpoint/hub/snapshot.js';
import type { LoadProgress, ProgressCallback } from '../checkpoint/progress.js';
import { readArguments, UsageError } from './arguments.js';
import { megabytes, ProgressLine, seconds } from './terminal.js';

const HELP = `smolvlm download ORG/NAME — fetches a checkpoint from the Hugging Face hub into the cache

Every command that takes --model takes the name afterwards, online or not. The cache is Python's: what transformers has
downloaded is there already. A broken download goes on where it ended; each file is verified before it counts.

  ORG/NAME            a repository of the hub
  --revision R        a branch, a tag or a commit (default: main)
  --include GLOB      fetch files that match instead of the checkpoint's; may be given several times
  --cache-dir D       the cache (default: HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub)
  --token T           an access token for private and gated repositories (default: HF_TOKEN, else that of \`hf auth login\`)
  --endpoint URL      another hub, or a mirror (default: HF_ENDPOINT, else https://huggingface.co)
  --force             fetch files anew that are there
  --dry-run           list what would be fetched
  --quiet             no progress
  --json              print a JSON object with the files instead of the folder alone

Prints the snapshot's folder. Exit code 0: all is there; 1: it failed; 2: wrong usage; 130: interrupted.

Examples:
  smolvlm download HuggingFaceTB/SmolVLM-256M-Instruct
  smolvlm download HuggingFaceTB/SmolVLM-256M-Instruct --include "*.json" --dry-run
  smolvlm describe photo.jpg --model HuggingFaceTB/SmolVLM-256M-Instruct
  HF_ENDPOINT=https://hub.example smolvlm download my-org/my-fine-tune --revision v2
`;

/** `smolvlm download ORG/NAME`. */
export async function downloadCommand(args: string[]): Promise<number> {
  const { values, positionals } = readArguments(args, {
    help: { type: 'boolean', short: 'h' },
    revision: { type: 'string' },
    include: { type: 'string', multiple: true },
    'cache-dir': { type: 'string' },
    token: { type: 'string' },
    endpoint: { type: 'string' },
    force: { type: 'boolean' },
    'dry-run': { type: 'boolean' },
    quiet: { type: 'boolean', short: 'q' },
    json: { type: 'boolean' },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (positionals.length !== 1) throw new UsageError(`expected one repository, got ${positionals.length}`);
  const controller = new AbortController();
  const interrupt = () => controller.abort();
  process.once('SIGINT', interrupt);
  const line = new ProgressLine();
  try {
    const snapshot = await snapshot_download(positionals[0], {
      revision: values.revision,
      include: values.include,
      cache_dir: values['cache-dir'],
      token: values.token,
      endpoint: values.endpoint,
      force_download: values.force,
      dry_run: values['dry-run'],
      signal: controller.signal,
      progress_callback: values.quiet ? undefined : downloadProgress(line),
    });
    line.clear();
    process.stdout.write(
      values.json ? `${JSON.stringify(snapshot, null, 2)}\n` : report(snapshot, values['dry-run']),
    );
    return 0;
  } finally {
    line.clear();
    process.off('SIGINT', interrupt);
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

/** Shows files that are fetched on a line of progress: how much of all that was begun, how fast, how long yet. */
export function downloadProgress(line: Pick<ProgressLine, 'show' | 'clear'>): ProgressCallback {
  const files = new Map<string, { loaded: number; total: number }>();
  const rate = new Rate();
  return ({ status, file, loaded, total }: LoadProgress) => {
    if (status === 'load' || status === 'ready') return;
    const before = files.get(file);
    // What an earlier run left is no speed of this one.
    if (status === 'progress' && before) rate.add(Math.max(0, loaded - before.loaded));
    files.set(file, { loaded: status === 'done' ? total : loaded, total });
    const sum = (part: 'loaded' | 'total') => [...files.values()].reduce((all, one) => all + one[part], 0);
    const [done, all] = [sum('loaded'), sum('total')];
    if (done === all && status === 'done') {
      line.clear();
      return;
    }
    line.show(`${file}: ${progressText(done, all, rate.perSecond())}`);
  };
}

/** "12.3 MB of 513 MB (2 %), 8.10 MB/s, 62 s left" */
export function progressText(loaded: number, total: number, perSecond: number | undefined): string {
  const share = total > 0 ? ` (${Math.floor((100 * loaded) / total)} %)` : '';
  const text = `${megabytes(loaded)} of ${megabytes(total)}${share}`;
  if (!perSecond) return text;
  const left = ((total - loaded) / perSecond) * 1000;
  return `${text}, ${megabytes(perSecond)}/s, ${left < 60_000 ? seconds(left) : minutes(left)} left`;
}

function minutes(ms: number): string {
  const all = Math.round(ms / 1000);
  const [h, m, s] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
  return h > 0 ? `${h} h ${m} min` : `${m} min ${s} s`;
}

/** Bytes a second over the last few seconds. */
class Rate {
  #samples: { time: number; bytes: number }[] = [];
  #started: number | undefined;

  add(bytes: number): void {
    const now = performance.now();
    this.#started ??= now;
    this.#samples.push({ time: now, bytes });
    while (this.#samples[0].time < now - 5_000) this.#samples.shift();
  }

  /** Undefined in the first moments, when it would be a guess. */
  perSecond(): number | undefined {
    const now = performance.now();
    const span = Math.min(5_000, now - (this.#started ?? now));
    if (span < 500) return undefined;
    return this.#samples.reduce((sum, { bytes }) => sum + bytes, 0) / (span / 1000);
  }
}
