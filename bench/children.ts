import { fork } from 'node:child_process';
import { join } from 'node:path';
import { root } from '../test/support/paths.js';
import { configurationName } from './configuration.js';
import type { Figures, Job, Message } from './job.js';
import type { Report } from './report.js';

/**
 * Does a job in a process of its own. Its rows go to `report` under the job's configuration; one that dies leaves a row too.
 * @returns the figures that it sent besides, undefined where there were none
 */
export function runJob(job: Job, report: Report): Promise<Figures | undefined> {
  const configuration = `${job.size} ${configurationName(job.configuration)}`;
  let figures: Figures | undefined;
  let isTold = false;
  return new Promise((resolve) => {
    const child = fork(join(root, 'build/bench/child.js'), [JSON.stringify(job)], {
      cwd: root,
      execArgv: [],
    });
    child.on('message', (message: Message) => {
      if ('figures' in message) figures = message.figures;
      else report({ configuration, ...message.row });
      isTold = true;
    });
    child.on('close', (code, signal) => {
      if (signal || !isTold) {
        const note = `failed: the process ended with ${signal ?? `code ${code}`}`;
        report({ part: job.part, configuration, work: 'left out', note });
      }
      resolve(figures);
    });
  });
}
