/** Imports a package from this folder's node_modules: the benchmarks themselves are compiled into another one. */
export const load = (name) => import(name);
