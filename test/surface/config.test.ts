/** SmolVLMConfig, SmolVLMVisionConfig and LlamaConfig beside the reference's (test/goldens/surface/configs.json). */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ConfigError, InputError } from '../../src/errors.js';
import { LlamaConfig, PretrainedConfig, SmolVLMConfig, SmolVLMVisionConfig } from '../../src/modeling.js';
import { GOLDENS, readJson, SURFACE } from './golden.js';
import { rejects, throws } from './refusals.js';

const CLASSES = { SmolVLMConfig, SmolVLMVisionConfig, LlamaConfig };
const golden = readJson(`${SURFACE}/configs.json`);

interface ConfigCase {
  class: keyof typeof CLASSES;
  kwargs: Record<string, unknown>;
  dict: Record<string, unknown>;
  json: Record<string, unknown>;
}

for (const { class: name, kwargs, dict, json } of golden.configs as ConfigCase[]) {
  const shown = Object.keys(kwargs).join(', ') || 'no arguments';
  test(`config ${name} of ${shown}: every attribute and default, as a dict and as JSON`, () => {
    const config = new CLASSES[name](kwargs);
    assert.equal(config.to_dict(), dict);
    assert.equal(JSON.parse(config.to_json_string(false)), dict);
    assert.equal(JSON.parse(config.to_json_string()), json);
    for (const [field, value] of Object.entries(kwargs)) {
      if (/config$|dtype|name_or_path|num_labels|rope_scaling/.test(field)) continue;
      assert.equal(config[field], value, `${field} is an attribute`);
    }
  });

  test(`config ${name} of ${shown}: round trip through JSON, whole and short`, () => {
    const config = new CLASSES[name](kwargs);
    for (const useDiff of [true, false]) {
      const text = config.to_json_string(useDiff);
      const again = (CLASSES[name] as typeof PretrainedConfig).from_dict(JSON.parse(text));
      assert.is(again.to_json_string(useDiff), text);
      // The name of the folder is no part of the short form.
      if (useDiff)
        assert.equal({ ...again.to_dict(), _name_or_path: '' }, { ...config.to_dict(), _name_or_path: '' });
    }
  });
}

test('config keys are sorted and indented by two, with a line break at the end, as Python writes them', () => {
  const text = new SmolVLMVisionConfig({ zebra: 1, aardvark: [1] }).to_json_string();
  const keys = [...text.matchAll(/^ {2}"(\w+)":/gm)].map(([, key]) => key);
  assert.equal(keys, [...keys].sort());
  assert.ok(keys.includes('zebra') && keys.includes('aardvark'));
  assert.ok(text.startsWith('{\n  "aardvark": [\n    1\n  ],\n') && text.endsWith('}\n'));
});

for (const { checkpoint, json, vision, text } of golden.checkpoints) {
  test(`config from_pretrained of ${checkpoint}: the whole one, and each tower's taken out of it`, async () => {
    const folder = `${GOLDENS}/${checkpoint}`;
    assert.equal(JSON.parse((await SmolVLMConfig.from_pretrained(folder)).to_json_string()), json);
    assert.equal(JSON.parse((await SmolVLMVisionConfig.from_pretrained(folder)).to_json_string()), vision);
    assert.equal(JSON.parse((await LlamaConfig.from_pretrained(folder)).to_json_string()), text);
  });
}

test('config save_pretrained and from_pretrained: nothing is lost, overrides replace attributes one by one', async () => {
  const config = new SmolVLMConfig({
    scale_factor: 3,
    foo: { bar: [1, 2] },
    text_config: { vocab_size: 77 },
  });
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  await config.save_pretrained(files);
  assert.equal([...files.keys()], ['config.json']);
  assert.equal((await SmolVLMConfig.from_pretrained(files)).to_dict(), config.to_dict());
  const other = await SmolVLMConfig.from_pretrained(files, {
    use_cache: false,
    text_config: { rope_theta: 5 },
  });
  assert.is(other.use_cache, false);
  assert.is(other.text_config.rope_theta, 5);
  assert.is(other.text_config.vocab_size, 77);
  assert.ok(other.text_config instanceof LlamaConfig);
});

test('config attributes are its own: neither the arguments nor another config change with it', () => {
  const kwargs = { text_config: { vocab_size: 9 }, foo: [1] };
  const config = new SmolVLMConfig(kwargs);
  config.text_config.vocab_size = 10;
  (config.foo as number[]).push(2);
  config.output_attentions = true;
  (config.id2label as Record<string, string>)[0] = 'changed';
  assert.equal(kwargs, { text_config: { vocab_size: 9 }, foo: [1] });
  const other = new SmolVLMConfig(kwargs);
  assert.is(other.output_attentions, false);
  assert.is(other.id2label[0], 'LABEL_0');
  assert.is(other.text_config.vocab_size, 9);
  assert.ok(config instanceof PretrainedConfig);
});

test('config sub-configs may be given as instances', () => {
  const vision_config = new SmolVLMVisionConfig({ hidden_size: 12 });
  const text_config = new LlamaConfig({ vocab_size: 3 });
  const config = new SmolVLMConfig({ vision_config, text_config });
  assert.is(config.vision_config, vision_config);
  assert.is(config.text_config, text_config);
});

test('config of a published kind: the idefics3 file keeps its model_type', () => {
  const json = JSON.parse(readFileSync(`${GOLDENS}/text-only-tied-bf16/config.json`, 'utf8'));
  assert.is(SmolVLMConfig.from_dict(json).model_type, 'idefics3');
});

test('config errors name the field, what was expected and what was got', async () => {
  throws(
    () => new SmolVLMConfig({ vision_config: 5 }),
    ConfigError,
    'vision_config',
    'SmolVLMVisionConfig',
    '5',
  );
  throws(() => new SmolVLMConfig({ text_config: [] }), ConfigError, 'text_config', 'LlamaConfig', '[]');
  const llava = { text_config: { model_type: 'mistral' } };
  throws(() => new SmolVLMConfig(llava), ConfigError, 'text_config.model_type', 'llama', 'mistral');
  throws(() => new SmolVLMConfig({ dtype: 4 }), ConfigError, 'dtype', 'name of a dtype', '4');
  throws(() => SmolVLMConfig.from_dict(null), ConfigError, 'SmolVLMConfig', 'JSON object', 'null');
  throws(
    () => SmolVLMConfig.from_dict({}, { fo: 1 }),
    ConfigError,
    'SmolVLMConfig',
    'name of an attribute',
    'fo',
  );
  await rejects(
    new SmolVLMConfig().save_pretrained(''),
    InputError,
    'save_pretrained',
    'path of a folder',
    '',
  );
  const file = `${GOLDENS}/cases.json`;
  await rejects(
    new SmolVLMConfig().save_pretrained(file),
    InputError,
    'save_pretrained',
    'path of a folder',
    file,
  );
});

test.run();
