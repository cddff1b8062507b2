import { EventEmitter } from 'node:events';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { AnswerOptions } from '../../src/chat/ask.js';
import { Conversation } from '../../src/cli/chat/conversation.js';
import type { Line, LineSource } from '../../src/cli/chat/lines.js';
import { Repl } from '../../src/cli/chat/repl.js';
import { SmolVLM } from '../../src/smolvlm.js';
import { demoFolder, demoSamples } from '../support/demo.js';
import { temporaryFolder } from '../support/folder.js';
import { shapes } from '../support/paths.js';

const vlm = await SmolVLM.from_pretrained(shapes);
const [first, second] = demoSamples;
const picture = join(demoFolder, first.file);
/** Answers that go on for long: tokens drawn almost evenly. */
const NOISE = { do_sample: true, temperature: 50, top_k: 0, max_new_tokens: 900 };

type Step = string | Line | ((repl: Driven) => Line | string);

interface Driven {
  /** Written since the last line was asked for. */
  output: string;
  notes: string;
  prompts: string[];
  initials: string[];
  conversation: Conversation;
}

interface DriveOptions {
  options?: AnswerOptions & { system?: string; seed?: number };
  interactive?: boolean;
  /** Ctrl-C once so much of an answer is there, or as soon as it is asked for. */
  interruptAt?: number;
}

/** Drives the conversation with lines, and gives back all that was written for each of them. */
async function drive(steps: Step[], { options = {}, interactive = true, interruptAt }: DriveOptions = {}) {
  const interrupts = new EventEmitter();
  const conversation = new Conversation(vlm, { max_new_tokens: 48, ...options });
  const state: Driven = { output: '', notes: '', prompts: [], initials: [], conversation };
  const turns: { output: string; notes: string }[] = [];
  let written = 0;
  const lines: LineSource = {
    async next(prompt, initial = '') {
      turns.push({ output: state.output, notes: state.notes });
      state.prompts.push(prompt);
      state.initials.push(initial);
      const step = steps.shift();
      const line = typeof step === 'function' ? step(state) : (step ?? { type: 'end' });
      state.output = '';
      state.notes = '';
      written = 0;
      if (interruptAt === 0 && steps.length > 0) setTimeout(() => interrupts.emit('SIGINT'), 0);
      return typeof line === 'string' ? { type: 'line', text: line } : line;
    },
    close() {},
  };
  const output = {
    write: (text: string) => {
      state.output += text;
      written += text.length;
      if (interruptAt && written >= interruptAt) interrupts.emit('SIGINT');
    },
  };
  const notes = {
    columns: 80,
    write: (text: string) => {
      state.notes += text;
    },
  };
  const code = await new Repl(conversation, { lines, output, notes, interrupts, interactive }).run();
  assert.is(interrupts.listenerCount('SIGINT'), 0);
  turns.push({ output: state.output, notes: state.notes });
  return { code, turns: turns.slice(1), ...state };
}

const roles = ({ conversation }: { conversation: Conversation }) =>
  conversation.messages.map(({ role }) => role).join(' ');

test('a question about a picture named in it is answered as the reference does; the next one computes the rest alone', async () => {
  const driven = await drive([`${picture} ${first.question}`, 'How many red shapes are there?', '/usage']);
  const { turns, conversation, code } = driven;
  assert.is(turns[0].output, `${first.answer.trim()}\n`);
  assert.is(roles(driven), 'user assistant user assistant');
  const { usage } = conversation.last!;
  assert.is(usage.tiles_encoded, 0);
  assert.ok(usage.cached_tokens > 40, `${usage.cached_tokens} tokens were known`);
  assert.match(turns[2].output, /^prompt {8}\d+ tokens, \d+ of them known from before\nanswer /);
  assert.match(turns[2].output, /tokens a second\n$/);
  assert.is(code, 0);
});

test('/image attaches for the next question, several at a time, and is shown in the prompt', async () => {
  const other = join(demoFolder, second.file);
  const driven = await drive([`/image ${picture}`, other, first.question, '/history']);
  assert.equal(driven.prompts, ['> ', '(1 picture) > ', '(2 pictures) > ', '> ', '> ']);
  assert.is(driven.turns[0].notes, `${picture} goes with the next question\n`);
  const [question] = driven.conversation.messages;
  assert.equal(
    (question.content as { type: string }[]).map(({ type }) => type),
    ['image', 'image', 'text'],
  );
  const shown = driven.turns[3].output.replace(/\s+/g, ' ');
  assert.ok(shown.includes(`You: [${picture}] [${other}] ${first.question} SmolVLM: `), shown);
});

test('/undo takes the last turn back, /retry and /edit answer it anew, pictures kept', async () => {
  const driven = await drive([
    `${picture} ${first.question}`,
    'And?',
    '/undo',
    '/edit',
    '/edit How many shapes are there?',
    '/retry',
    '/undo',
    '/undo',
    '/retry',
  ]);
  const { turns, initials } = driven;
  assert.match(turns[2].notes, /^taken back: And\?\n$/);
  assert.is(initials[4], `/edit ${first.question}`);
  const fresh = await vlm.describe(picture, 'How many shapes are there?', { max_new_tokens: 48 });
  assert.is(turns[4].output, `${fresh.text}\n`);
  assert.is(turns[5].output, `${fresh.text}\n`);
  assert.match(turns[6].notes, new RegExp(`taken back: \\[${picture}\\] How many shapes are there\\?`));
  assert.match(turns[7].notes, /there is no question yet/);
  assert.match(turns[8].notes, /InputError: no question yet/);
  assert.is(roles(driven), '');
});

test('/system is said before everything, may be changed and taken away; /reset keeps it', async () => {
  const driven = await drive(
    [
      '/system',
      `${picture} ${first.question}`,
      '/system Be brief.',
      '/reset',
      '/system',
      '/system -',
      '/system',
    ],
    { options: { system: 'Be kind.' } },
  );
  assert.equal(
    [0, 2, 4, 5, 6].map((turn) => driven.turns[turn].notes),
    [
      'system: Be kind.\n',
      'system: Be brief.\n',
      'system: Be brief.\n',
      'nothing is said before the conversation\n',
      'nothing is said before the conversation\n',
    ],
  );
  const kept = await drive([`${picture} ${first.question}`, '/system Be brief.']);
  assert.is(roles(kept), 'system user assistant');
});

test('/save and /load carry the conversation with its pictures over, and write over saved ones only', async () => {
  const folder = temporaryFolder({ 'mine.txt': 'precious' });
  const copy = join(folder, 'gone.jpg');
  copyFileSync(picture, copy);
  const file = join(folder, 'talk.session');
  const mine = join(folder, 'mine.txt');
  const saved = await drive([
    `${copy} ${first.question}`,
    `/save ${file}`,
    `/save "${file}"`,
    `/save ${mine}`,
  ]);
  assert.is(saved.turns[1].notes, `saved: ${file}\n`);
  assert.is(saved.turns[2].notes, `saved: ${file}\n`);
  assert.match(
    saved.turns[3].notes,
    /InputError: the file would be written over \(.*mine\.txt\): expected a new file/,
  );
  assert.is(readFileSync(mine, 'utf8'), 'precious');
  writeFileSync(copy, 'no picture any more');
  const loaded = await drive([
    `/load ${file}`,
    'How many shapes are there?',
    `/load ${mine}`,
    `/load ${folder}/none`,
    '/load',
  ]);
  assert.match(loaded.turns[0].notes, /^loaded: 2 messages; \/history shows them\n$/);
  assert.is(roles(loaded), 'user assistant user assistant');
  assert.is(loaded.conversation.last!.usage.tiles_encoded, 0);
  assert.match(loaded.turns[2].notes, /CheckpointError: /);
  assert.match(loaded.turns[3].notes, /InputError: the conversation cannot be read \(.*none\): .*got ENOENT/);
  assert.match(loaded.turns[4].notes, /^\/load: expected FILE\n$/);
});

test('Ctrl-C stops an answer: what was said stays in the conversation, and one can go on', async () => {
  const driven = await drive([`${picture} ${first.question}`, '/history'], {
    options: { ...NOISE, seed: 11 },
    interruptAt: 40,
  });
  const { output, notes } = driven.turns[0];
  assert.is(notes, 'stopped; what was said is kept\n');
  assert.is(roles(driven), 'user assistant');
  const [piece] = driven.conversation.messages[1].content as { text: string }[];
  assert.is(`${piece.text}\n`, output);
  assert.ok(output.length >= 40 && output.length < 400, `${output.length}`);
  assert.is(driven.conversation.last, undefined);
});

test('Ctrl-C before the first word takes the question back, what was attached stays', async () => {
  const driven = await drive([`/image ${picture}`, first.question, ''], { interruptAt: 0 });
  assert.is(driven.turns[1].notes, 'stopped; the question is not kept\n');
  assert.is(roles(driven), '');
  assert.is(driven.conversation.attached.length, 1);
  assert.is(driven.prompts[2], '(1 picture) > ');
});

test('a stopped /retry leaves the earlier answer where nothing was said', async () => {
  const driven = await drive([`${picture} ${first.question}`]);
  const before = driven.conversation.messages;
  const controller = new AbortController();
  controller.abort();
  const outcome = await driven.conversation.retry({ signal: controller.signal, piece: () => {} });
  assert.equal(outcome, { type: 'stopped', text: '' });
  assert.equal(driven.conversation.messages, before);
});

test('with --seed a second try is another answer, and each run the same ones', async () => {
  const run = async () => {
    const options = { ...NOISE, max_new_tokens: 20, seed: 4 };
    const { turns } = await drive([`${picture} ${first.question}`, '/retry'], { options });
    return turns.map(({ output }) => output);
  };
  const [one, two] = [await run(), await run()];
  assert.equal(one, two);
  assert.is.not(one[0], one[1]);
});

test('Ctrl-C at an empty prompt says how to leave, the second one leaves; behind text it only clears the line', async () => {
  const interrupt = (typed: boolean): Line => ({ type: 'interrupt', typed });
  const left = await drive([interrupt(false), interrupt(false), 'never asked']);
  assert.is(left.turns[0].notes, 'Ctrl-C again, Ctrl-D or /quit leaves\n');
  assert.is(left.prompts.length, 2);
  const stayed = await drive([
    interrupt(false),
    interrupt(true),
    interrupt(false),
    '/help',
    interrupt(false),
  ]);
  assert.is(stayed.prompts.length, 6);
  assert.is(stayed.turns[1].notes, '');
});

test('unknown commands, files that are no pictures and pictures that are not there are told, and nothing is asked', async () => {
  const folder = temporaryFolder({ 'a.png': 'GIF89a', 'b.jpg': 'hello' });
  const { turns, conversation } = await drive([
    '/imagine x',
    '/zzzzzz',
    `/image ${folder}/a.png`,
    `/image ${folder}/b.jpg`,
    `/image ${folder}/none.jpg`,
    '/image',
    `/video ${folder}/none.mp4`,
    '/quit',
    'never asked',
  ]);
  const expected = [
    /^there is no command \/imagine; did you mean \/image\?\n$/,
    /^there is no command \/zzzzzz; \/help lists them\n$/,
    /^InputError: the picture cannot be used \(.*a\.png\): expected a JPEG or PNG file, got GIF\n$/,
    /^InputError: the picture cannot be used \(.*b\.jpg\): expected a JPEG or PNG file, got something else\n$/,
    /^InputError: the picture cannot be used \(.*none\.jpg\): expected a JPEG or PNG file, got ENOENT\n$/,
    /^\/image: expected PATH\n$/,
    /^InputError: the video cannot be used \(.*none\.mp4\): .*got ENOENT\n$/,
  ];
  for (const [i, pattern] of expected.entries()) assert.match(turns[i].notes, pattern);
  assert.is(turns.length, 8);
  assert.equal(conversation.messages, []);
});

test('where nobody types notes stay out of the output, a failed question is exit code 1, and Ctrl-C is 130', async () => {
  const piped = await drive([`${picture} ${first.question}`, '/usage', '/history'], { interactive: false });
  assert.is(piped.code, 0);
  assert.equal(
    piped.turns.slice(0, 3).map(({ output }) => output),
    [`${first.answer.trim()}\n`, '', ''],
  );
  assert.match(piped.turns[1].notes, /^prompt /);
  const failed = await drive(['/zzz', `${picture} ${first.question}`], { interactive: false });
  assert.is(failed.code, 1);
  assert.is(failed.turns[1].output, `${first.answer.trim()}\n`);
  const stopped = await drive([`${picture} ${first.question}`, 'never asked'], {
    interactive: false,
    interruptAt: 5,
    options: { ...NOISE, seed: 11 },
  });
  assert.is(stopped.code, 130);
  assert.is(stopped.prompts.length, 1);
});

test('an answer that ends at --max-new-tokens says so', async () => {
  const { turns } = await drive([`${picture} ${first.question}`], { options: { max_new_tokens: 3 } });
  assert.is(turns[0].notes, 'ended after 3 tokens (--max-new-tokens)\n');
});

test('a picture that cannot be decoded is told, is attached no longer, and the next question is answered', async () => {
  const broken = join(
    temporaryFolder({ 'broken.jpg': readFileSync(picture).subarray(0, 200) }),
    'broken.jpg',
  );
  const driven = await drive([`/image ${broken}`, first.question, `${picture} ${first.question}`]);
  assert.match(driven.turns[1].notes, /^what was attached is not any more\nImageError: /);
  assert.equal(driven.prompts.slice(1, 3), ['(1 picture) > ', '> ']);
  assert.is(driven.turns[2].output, `${first.answer.trim()}\n`);
  assert.is(roles(driven), 'user assistant');
});

test('a question longer than the context is told with what makes room', async () => {
  const driven = await drive([`${picture} ${'What is this and that? '.repeat(120)}`]);
  assert.match(
    driven.turns[0].notes,
    /^InputError: the prompt is longer than the context \(.*\): expected fewer than 512 tokens .*got \d+ tokens\n\/undo and \/reset make room\n$/,
  );
  assert.is(roles(driven), '');
});

test('/help lists every command', async () => {
  const { turns } = await drive(['/help']);
  for (const name of ['/image PATH', '/edit TEXT', '/load FILE', '/quit'])
    assert.ok(turns[0].output.includes(name));
  assert.is(turns[0].output.split('\n').filter((line) => line.startsWith('/')).length, 13);
});

test.after(() => vlm.dispose());
test.run();
