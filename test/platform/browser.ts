/** A page in headless Chromium, served from the repository on loopback. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../support/paths.js';

const LIMIT_MS = 60_000;

export const chromium = [process.env.CHROMIUM_PATH, '/usr/bin/chromium', '/usr/bin/google-chrome'].find(
  (path) => path !== undefined && existsSync(path),
);

/** Headers with which a page is cross-origin isolated: it may share memory between threads. */
export const ISOLATED = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
};

/**
 * Runs a page's script and waits for what it has seen.
 * @param script a module's text that fills the object `seen`; what it throws is put there as `error`
 * @param headers of the page
 */
export function runInBrowser<Seen>(
  script: string,
  headers: Record<string, string> = {},
): Promise<Seen & { error?: string }> {
  const page = pageOf(script);
  const profile = mkdtempSync(join(tmpdir(), 'smolvlm-browser-'));
  let child: ChildProcess | undefined;
  let server: Server | undefined;
  let timer: NodeJS.Timeout | undefined;
  const result = new Promise<Seen & { error?: string }>((resolve, reject) => {
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
      for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
      if (request.url === '/') response.setHeader('content-type', 'text/html').end(page);
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

function pageOf(script: string): string {
  return `<script type="module">
const seen = {};
try {
${script}
} catch (error) {
  seen.error = String(error?.stack ?? error);
}
await fetch('/done', { method: 'POST', body: JSON.stringify(seen) });
</script>`;
}
