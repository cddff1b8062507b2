/** The options that say how a checkpoint is found on the hub and in the cache: the same in every command that opens one. */
import type { HubOptions } from '../checkpoint/hub/options.js';
import type { HelpRow } from './help.js';

/** For `readArguments`. */
export const HUB_OPTIONS = {
  revision: { type: 'string' },
  'cache-dir': { type: 'string' },
  token: { type: 'string' },
  endpoint: { type: 'string' },
  offline: { type: 'boolean' },
} as const;

export const HUB_HELP: { title: string; rows: readonly HelpRow[] } = {
  title: 'The hub, where the model is ORG/NAME',
  rows: [
    ['--revision R', 'a branch, a tag or a commit (default: main)'],
    ['--cache-dir D', 'the cache (default: HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub)'],
    [
      '--token T',
      'an access token for private and gated repositories (default: HF_TOKEN, else that of `hf auth login`)',
    ],
    ['--endpoint URL', 'another hub, or a mirror (default: HF_ENDPOINT, else https://huggingface.co)'],
    ['--offline', 'use what is cached alone'],
  ],
};

type Values = Readonly<Partial<Record<keyof typeof HUB_OPTIONS, string | boolean>>>;

export function readHubOptions(values: Values): HubOptions {
  const text = (name: keyof typeof HUB_OPTIONS) => values[name] as string | undefined;
  return {
    revision: text('revision'),
    cache_dir: text('cache-dir'),
    token: text('token'),
    endpoint: text('endpoint'),
    ...(values.offline === true && { local_files_only: true }),
  };
}
