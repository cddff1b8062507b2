import { ConfigError } from '../errors.js';
import type { LoraConfig } from './adapter-config.js';

/** Whether an adapter changes the module with this path (peft's check_target_module_exists). */
export type IsTarget = (path: string, isLinear: boolean) => boolean;

/**
 * The modules that target_modules, exclude_modules, modules_to_save and layers_to_transform leave.
 * @throws ConfigError for an expression that JavaScript cannot read
 */
export function targetTest(config: LoraConfig, file: string): IsTarget {
  const { target_modules: targets, exclude_modules: excludes } = config;
  const isExcluded =
    typeof excludes === 'string' && excludes !== ''
      ? wholeMatch(excludes, file, 'exclude_modules')
      : namedBy(excludes as readonly string[]);
  const saved = config.modules_to_save.map((name) =>
    expression(`^(?:|.*\\.)${name}(?:$|\\..*)`, file, 'modules_to_save'),
  );
  const isFree = (path: string) => !isExcluded(path) && !saved.some((pattern) => pattern.test(path));
  if (typeof targets === 'string') {
    if (targets.toLowerCase() === 'all-linear') {
      return (path, isLinear) => isLinear && path !== 'lm_head' && isFree(path);
    }
    const matches = wholeMatch(targets, file, 'target_modules');
    return (path) => isFree(path) && matches(path);
  }
  const isNamed = namedBy(targets);
  const inLayers = layerTest(config, file);
  // A module named in full is meant whatever its layer.
  return (path) => isFree(path) && (targets.includes(path) || (isNamed(path) && inLayers(path)));
}

/** The value of the first pattern that a module's path ends in (get_pattern_key), or the fallback. */
export function byPattern(
  patterns: Readonly<Record<string, number>>,
  path: string,
  fallback: number,
  where: { file: string; field: string },
): number {
  const found = Object.keys(patterns).find((key) =>
    expression(`^(?:.*\\.)?(?:${key})$`, where.file, where.field).test(path),
  );
  return found === undefined ? fallback : patterns[found];
}

function namedBy(names: readonly string[]): (path: string) => boolean {
  return (path) => names.some((name) => path === name || path.endsWith(`.${name}`));
}

function layerTest(
  { layers_to_transform: layers, layers_pattern: patterns }: LoraConfig,
  file: string,
): (path: string) => boolean {
  if (layers.length === 0) return () => true;
  const sources = patterns.length === 0 ? ['[^.]*'] : patterns;
  const tests = sources.map((pattern) =>
    expression(`^.*\\.(?:${pattern})\\.(?<layer>\\d+)\\.`, file, 'layers_pattern'),
  );
  return (path) => {
    const found = tests.map((pattern) => pattern.exec(path)).find((match) => match !== null);
    return found !== undefined && layers.includes(Number(found!.groups!.layer));
  };
}

function wholeMatch(source: string, file: string, field: string): (path: string) => boolean {
  const pattern = expression(`^(?:${source})$`, file, field);
  return (path) => pattern.test(path);
}

/** Python's expressions are JavaScript's but for the way that groups are named. */
function expression(source: string, file: string, field: string): RegExp {
  try {
    return new RegExp(source.replaceAll('(?P<', '(?<'), 's');
  } catch (cause) {
    const got = JSON.stringify(source);
    const where = `${file}: ${field}`;
    const expected = 'a regular expression that JavaScript reads too';
    throw new ConfigError({ what: 'expression cannot be read', where, expected, got, cause });
  }
}
