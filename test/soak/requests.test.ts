/** 300 requests in a row, one in three cancelled at a random moment of a random stage: nothing grows, nothing is left behind. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../support/paths.js';
import { SOAK_GROWTH } from '../tolerance.js';
import type { SoakReport } from './requests.js';

const CHILD = join(root, 'build/test/soak/requests.js');

const percent = `${100 * SOAK_GROWTH} %`;

for (const threads of [1, 2]) {
  test(`300 requests, 100 of them cancelled, threads ${threads}: memory within ±${percent}, the same bytes held, the same answers, nothing left`, () => {
    // Two arenas of malloc, and a young generation that does not come and go by megabytes.
    const env = { ...process.env, MALLOC_ARENA_MAX: '2' };
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['--no-warnings', '--expose-gc', '--max-semi-space-size=2', CHILD, String(threads)],
      { encoding: 'utf8', env, cwd: root, timeout: 600_000 },
    );
    assert.is(status, 0, `it ended by itself: ${stderr}`);
    const report = JSON.parse(stdout) as SoakReport;
    const { rows, requests, cancelled, answered, stages, rss, objects, reloads, held, caches } = report;
    const { listeners, left } = report;
    assert.equal(report.strange, [], 'every cancelled request rejected with its signal’s reason');
    assert.ok(rows <= 2, `${rows} rows`);
    assert.is(requests, 300 * rows);
    assert.is(cancelled + answered, requests);
    assert.ok(cancelled >= 99 * rows, `${cancelled} cancelled`);
    for (const [stage, count] of Object.entries(stages)) assert.ok(count >= 3, `${stage}: ${count}`);
    assert.ok(report.loads.cancelled >= 3, JSON.stringify(report.loads));
    assert.equal(report.wrong, [], 'the answers are those of the committed runs');

    const growth = (values: number[]) => values.map((value) => value / values[0] - 1);
    const shown = (values: number[]) => values.map((value) => (value / 2 ** 20).toFixed(1)).join(' ');
    console.log(
      `threads ${threads}, ${requests} requests: RSS ${shown(rss)} MiB, objects ${shown(objects)} MiB, ${report.seconds.toFixed(0)} s`,
    );
    for (const values of [rss, objects]) {
      assert.is(values.length, 4);
      for (const share of growth(values)) assert.ok(Math.abs(share) <= SOAK_GROWTH, shown(values));
    }
    assert.ok(reloads[1] <= (1 + SOAK_GROWTH) * reloads[0], `25 models later: ${shown(reloads)} MiB`);
    assert.equal(held, new Array(4).fill(held[0]), 'bytes of the model’s memory');
    assert.ok(
      caches.prefix <= caches.prefixLimit && caches.image <= caches.imageLimit,
      JSON.stringify(caches),
    );
    assert.ok(caches.prefix > 0 && caches.image > 0, JSON.stringify(caches));
    assert.is(listeners.left, 0);
    assert.ok(listeners.most >= 1 && listeners.most <= 4, `${listeners.most} listeners on the shared signal`);
    assert.equal(left, { resources: [], threads: 0, files: 0 });
  });
}

test.run();
