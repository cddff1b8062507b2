import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { isRepositoryName } from '../../src/checkpoint/hub/open.js';
import type { HubOptions } from '../../src/checkpoint/hub/options.js';
import { HubError, type HubErrorCode, InputError } from '../../src/errors.js';
import { rejects } from '../checkpoint/helpers.js';
import { sha256, TestHub, TOKEN } from './server.js';
import { bytesOf, openQuick, randomBytes, scratch } from './support.js';

const test = suite('what a hub refuses');
const hub = await new TestHub().start();
const FILES = { 'config.json': new TextEncoder().encode('{}'), 'model.safetensors': randomBytes(1_000, 5) };
hub.add('test-org/open', FILES);
hub.add('test-org/private', FILES, { access: 'private' });
hub.add('test-org/gated', FILES, { access: 'gated' });
test.before.each(() => hub.reset());
test.after(() => hub.stop());

interface Refusal {
  name: string;
  options?: HubOptions;
  file?: string;
  code: HubErrorCode;
  status: number;
  says: { what: string; expected: string; got: string };
}

const settings = () => `${hub.url}/settings/tokens`;
const REFUSALS: Record<string, () => Refusal> = {
  'a repository that is not there': () => ({
    name: 'test-org/none',
    code: 'RepoNotFound',
    status: 401,
    says: {
      what: 'no such repository',
      expected: 'a private one needs a token (HF_TOKEN',
      got: 'without a token',
    },
  }),
  'a private repository with a token of somebody else': () => ({
    name: 'test-org/private',
    options: { token: 'hf_other' },
    code: 'RepoNotFound',
    status: 404,
    says: { what: 'no such repository', expected: 'a private one needs a token', got: '404 RepoNotFound' },
  }),
  'a revision that is not there': () => ({
    name: 'test-org/open',
    options: { revision: 'v9/none' },
    code: 'RevisionNotFound',
    status: 404,
    says: {
      what: 'no such revision',
      expected: `${hub.url}/test-org/open/tree/main lists them`,
      got: '404 RevisionNotFound',
    },
  }),
  'a gated repository without a token': () => ({
    name: 'test-org/gated',
    code: 'GatedRepo',
    status: 401,
    says: { what: 'gated', expected: `terms accepted at ${hub.url}/test-org/gated`, got: '401 GatedRepo' },
  }),
  'a gated repository with a token that has not been granted access': () => ({
    name: 'test-org/gated',
    options: { token: 'hf_other' },
    code: 'GatedRepo',
    status: 403,
    says: { what: 'gated', expected: 'HF_TOKEN, or the option token', got: 'with a token' },
  }),
  'a token that is none': () => ({
    name: 'test-org/open',
    options: { token: 'hf_wrong' },
    code: 'Unauthorized',
    status: 401,
    says: {
      what: 'does not accept the token',
      expected: `or none: ${settings()}`,
      got: 'Invalid credentials',
    },
  }),
};
for (const [title, refusal] of Object.entries(REFUSALS)) {
  test(`${title}: a HubError that says what to do, after one request and no retry`, async () => {
    const { name, options, code, status, says } = refusal();
    const all = { endpoint: hub.url, cache_dir: scratch(), ...options };
    const error = await openQuick(name, all)
      .then((repository) => bytesOf(repository, 'model.safetensors'))
      .catch((caught) => caught);
    await rejects(() => Promise.reject(error), HubError, { where: name, ...says });
    assert.equal([error.code, error.status], [code, status]);
    assert.is(hub.seen.filter((one) => one.status === status).length, 1);
    assert.not.ok(
      JSON.stringify([error.message, error.stack]).includes('hf_'),
      'the token is in the message',
    );
  });
}

test('a file that is not there is absent, and the commit is noted to lack it', async () => {
  const options = { endpoint: hub.url, cache_dir: scratch() };
  const repository = await openQuick('test-org/open', options);
  assert.is(await repository.has('chat_template.jinja'), false);
  assert.is(await repository.open('chat_template.jinja'), undefined);
  await bytesOf(repository, 'config.json');
  hub.reset();
  const pinned = await openQuick('test-org/open', { ...options, revision: repository.commit });
  assert.is(await pinned.has('chat_template.jinja'), false);
  assert.is(await pinned.has('config.json'), true);
  assert.is(hub.seen.length, 0, 'a commit that is known needs no word of the hub');
});

test('the token goes to the hub and along its own redirects, never to the CDN', async () => {
  for (const name of ['test-org/private', 'test-org/gated']) {
    hub.reset();
    const options = { endpoint: hub.url, cache_dir: scratch(), token: TOKEN };
    const repository = await openQuick(name, options);
    assert.equal(await bytesOf(repository, 'config.json'), FILES['config.json']);
    assert.equal(await bytesOf(repository, 'model.safetensors'), FILES['model.safetensors']);
    assert.ok(hub.requests('hub').length >= 4);
    assert.ok(hub.requests('hub').every(({ headers }) => headers.authorization === `Bearer ${TOKEN}`));
    assert.equal(
      hub.requests('cdn').map(({ headers }) => headers.authorization),
      [undefined],
    );
  }
});

test('a hub without an API is asked by headers, and its files are verified by them', async () => {
  const cache_dir = scratch();
  hub.api = false;
  const repository = await openQuick('test-org/open', { endpoint: hub.url, cache_dir });
  assert.equal(await bytesOf(repository, 'config.json'), FILES['config.json']);
  assert.equal(await bytesOf(repository, 'model.safetensors'), FILES['model.safetensors']);
  assert.is(await bytesOf(repository, 'tokenizer.json'), undefined);
  const remote = await repository.remote('model.safetensors');
  const { digest, size, blob } = remote!;
  const hex = sha256(FILES['model.safetensors']);
  assert.equal({ digest, size, blob }, { digest: { kind: 'sha256', hex }, size: 1_000, blob: hex });
  hub.fault = ({ host }) => (host === 'cdn' ? { body: (bytes) => bytes.slice().reverse() } : undefined);
  const again = await openQuick('test-org/open', { endpoint: hub.url, cache_dir: scratch() });
  const error = await bytesOf(again, 'model.safetensors').catch((caught) => caught);
  assert.is(error.code, 'ChecksumMismatch');
});

const ANSWERS: Record<string, string> = {
  'no JSON': '<html>Log in to the network</html>',
  null: 'null',
  'no commit': '{"sha":"main","siblings":[]}',
  'no files': `{"sha":"${'a'.repeat(40)}"}`,
  'a path that leaves the cache': `{"sha":"${'a'.repeat(40)}","siblings":[{"rfilename":"../../x","size":1,"blobId":"${'b'.repeat(40)}"}]}`,
  'a digest that is a path': `{"sha":"${'a'.repeat(40)}","siblings":[{"rfilename":"x","size":1,"blobId":"../../../x"}]}`,
  'a negative size': `{"sha":"${'a'.repeat(40)}","siblings":[{"rfilename":"x","size":-1,"blobId":"${'b'.repeat(40)}"}]}`,
};
for (const [title, answer] of Object.entries(ANSWERS)) {
  test(`a listing that is none (${title}) is a HubError BadResponse that shows it`, async () => {
    hub.fault = () => ({ body: () => new TextEncoder().encode(answer) });
    const error = await openQuick('test-org/open', { endpoint: hub.url, cache_dir: scratch() }).catch(
      (e) => e,
    );
    assert.instance(error, HubError);
    assert.is(error.code, 'BadResponse');
    assert.match(error.where, 'test-org/open@main');
    assert.ok(error.expected && error.got);
  });
}

test('a file of another commit than the one asked for, a redirect without end, a redirect to no http: BadResponse', async () => {
  const options = { endpoint: hub.url, cache_dir: scratch() };
  const faults = [
    { commit: 'f'.repeat(40) },
    { status: 302, headers: { location: '/test-org/open/resolve/main/config.json' } },
    { status: 302, headers: { location: 'file:///etc/passwd' } },
  ];
  for (const fault of faults) {
    hub.reset();
    const repository = await openQuick('test-org/open', options);
    hub.fault = ({ path }) => (path.includes('/resolve/') ? fault : undefined);
    const error = await bytesOf(repository, 'model.safetensors').catch((caught) => caught);
    assert.is(error.code, 'BadResponse', String(error));
    assert.ok(hub.seen.length < 20);
  }
});

test('options that mean nothing are InputErrors that name them', async () => {
  const wrong: [HubOptions, string][] = [
    [{ endpoint: 'ftp://hub' }, 'endpoint'],
    [{ endpoint: 'nonsense' }, 'endpoint'],
    [{ endpoint: 'https://user:secret@hub' }, 'endpoint'],
    [{ revision: '' }, 'revision'],
    [{ subfolder: '../..' }, 'subfolder'],
    [{ timeout: 0 }, 'timeout'],
    [{ max_attempts: -1 }, 'max_attempts'],
    [{ token: 'a\u00e9' }, 'token'],
    [{ token: true }, 'token'],
  ];
  for (const [options, where] of wrong) {
    const error = await openQuick('test-org/open', options).catch((caught) => caught);
    assert.instance(error, InputError, where);
    assert.match(error.where, where);
    assert.not.match(error.message, /secret|\u00e9/);
  }
});

test('names of repositories: two parts of letters, digits, _, - and .', () => {
  for (const name of ['org/name', 'HuggingFaceTB/SmolVLM2-2.2B-Instruct', 'a/b', 'o_r/n.1']) {
    assert.ok(isRepositoryName(name), name);
  }
  const others = [
    'name',
    './x',
    '../x',
    '/x/y',
    'a/b/c',
    'a//b',
    'a/',
    '/a',
    'a/b.',
    '-a/b',
    'a/b--c',
    'a/b..c',
    'a b/c',
    'C:\\x/y',
  ];
  for (const name of others) assert.not.ok(isRepositoryName(name), name);
});

test.run();
