import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../support/paths.js';

/** What the page and Node both do with the bundle: an answer, the bits behind it, the frames of two videos. */
interface Seen {
  error?: string;
  text: string;
  logits: string;
  videos: Record<string, { times: number[]; means: number[][] }>;
}

const LIMIT_MS = 60_000;
const chromium = [process.env.CHROMIUM_PATH, '/usr/bin/chromium', '/usr/bin/google-chrome'].find(
  (path) => path !== undefined && existsSync(path),
);

/** Runs in the page and, as a function, in Node: `read` gives bytes, `location` the checkpoint. */
const ANSWER = `async (library, location, read) => {
  const processor = await library.AutoProcessor.from_pretrained(location);
  const model = await library.SmolVLMForConditionalGeneration.from_pretrained(location);
  const image = await read('examples/pictures/shapes-on-checks.jpg');
  const content = [{ type: 'image', image }, { type: 'text', text: 'Describe this image.' }];
  const inputs = await processor.apply_chat_template([{ role: 'user', content }], {
    add_generation_prompt: true, tokenize: true,
  });
  const { logits } = await model.forward({ ...inputs, use_cache: false });
  const ids = await model.generate({ ...inputs, max_new_tokens: 40 });
  model.dispose();
  return { text: processor.batch_decode(ids, { skip_special_tokens: true })[0], logits: logits.data };
}`;

const PAGE = `<script type="module">
const seen = { videos: {} };
try {
  const library = await import('/dist/index.js');
  const read = async (path) => new Uint8Array(await (await fetch('/' + path)).arrayBuffer());
  const { text, logits } = await (${ANSWER})(library, new URL('/checkpoints/smolvlm-shapes/', location), read);
  seen.text = text;
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', logits));
  seen.logits = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
  const mediabunny = await import('/node_modules/mediabunny/dist/bundles/mediabunny.min.mjs');
  for (const name of ['uneven.webm', 'clip.mp4']) {
    const blob = new Blob([await read('test/fixtures/video/' + name)]);
    const source = await library.webCodecsDecoder(mediabunny).open(blob);
    const means = [];
    for await (const frame of source.frames(source.times.map((_, index) => index))) {
      const channels = frame.data.length / (frame.width * frame.height);
      means.push([0, 1, 2].map((c) => {
        let sum = 0;
        for (let i = c; i < frame.data.length; i += channels) sum += frame.data[i];
        return sum / (frame.width * frame.height);
      }));
    }
    seen.videos[name] = { times: Array.from(source.times), means };
    await source.close?.();
  }
} catch (error) {
  seen.error = String(error?.stack ?? error);
}
await fetch('/done', { method: 'POST', body: JSON.stringify(seen) });
</script>`;

/** Serves the repository and the page on loopback, and waits for what the page has seen. */
function runInBrowser(): Promise<Seen> {
  const profile = mkdtempSync(join(tmpdir(), 'smolvlm-browser-'));
  let child: ChildProcess | undefined;
  let server: Server | undefined;
  let timer: NodeJS.Timeout | undefined;
  const result = new Promise<Seen>((resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`the page said nothing for ${LIMIT_MS / 1000} s`)), LIMIT_MS);
    server = createServer((request, response) => {
      if (request.url === '/done') {
        let body = '';
        request.on('data', (data) => {
          body += data;
        });
        request.on('end', () => {
          response.end();
          resolve(JSON.parse(body));
        });
        return;
      }
      const path = join(root, decodeURIComponent(request.url ?? '/'));
      if (request.url === '/') response.setHeader('content-type', 'text/html').end(PAGE);
      else if (!existsSync(path)) response.writeHead(404).end();
      else {
        response.setHeader(
          'content-type',
          /\.m?js$/.test(path) ? 'text/javascript' : 'application/octet-stream',
        );
        response.end(readFileSync(path));
      }
    });
    server.listen(0, '127.0.0.1', () => {
      const { port } = server!.address() as AddressInfo;
      const flags = ['--headless', '--no-sandbox', '--disable-gpu', `--user-data-dir=${profile}`];
      const options = { detached: true, stdio: 'ignore' } as const;
      child = spawn(chromium!, [...flags, `http://127.0.0.1:${port}/`], options);
      child.on('error', reject);
    });
  });
  return result.finally(() => {
    clearTimeout(timer);
    server?.closeAllConnections();
    server?.close();
    // The browser's children are in its process group.
    if (child?.pid) process.kill(-child.pid, 'SIGKILL');
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  });
}

if (chromium === undefined) {
  console.log('SKIP the bundle in a browser (no Chromium: set CHROMIUM_PATH)');
  test.skip('in Chromium the bundle gives the text and the logits’ bits of Node, and WebCodecs every frame', () => {});
} else {
  test('in Chromium the bundle gives the text and the logits’ bits of Node, and WebCodecs every frame', async () => {
    const seen = await runInBrowser();
    assert.is(seen.error, undefined);
    const library = await import(`${root}/dist/index.js`);
    const read = async (path: string) => new Uint8Array(readFileSync(join(root, path)));
    // The page's own source, so that both do the same.
    const answer = new Function(`return ${ANSWER}`)();
    const { text, logits } = await answer(library, join(root, 'checkpoints/smolvlm-shapes'), read);
    assert.is(seen.text, text);
    assert.is(seen.logits, createHash('sha256').update(new Uint8Array(logits.buffer)).digest('hex'));
    const { 'uneven.webm': webm, 'clip.mp4': mp4 } = seen.videos;
    assert.is(webm.means.length, 25);
    assert.is(mp4.means.length, 50);
    assert.equal(webm.times.slice(0, 8), [0, 0.04, 0.08, 0.2, 0.24, 0.28, 0.4, 0.44]);
    // Means of red, green and blue of the first and a later frame, as ffmpeg decodes them; decoders may differ by a level.
    const pairs: [number[], number][] = [
      [webm.means[0], 20],
      [webm.means[12], 68],
      [mp4.means[0], 20],
      [mp4.means[12], 68],
      [mp4.means[25], 119],
    ];
    for (const [mean, expected] of pairs) {
      for (const value of mean) assert.ok(Math.abs(value - expected) <= 2, `${mean} instead of ${expected}`);
    }
  });
}

test.run();
