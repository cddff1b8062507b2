/** Module hooks: `uvu` and `uvu/assert` become the wrappers, except where the wrappers themselves ask for them. */
const WRAPPERS = {
  uvu: new URL('./uvu.mjs', import.meta.url).href,
  'uvu/assert': new URL('./assert.mjs', import.meta.url).href,
};

export function resolve(specifier, context, next) {
  const wrapper = Object.hasOwn(WRAPPERS, specifier) ? WRAPPERS[specifier] : undefined;
  if (!wrapper || Object.values(WRAPPERS).includes(context.parentURL)) return next(specifier, context);
  return { url: wrapper, format: 'module', shortCircuit: true };
}
