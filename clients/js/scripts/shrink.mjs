// Shortens the names of private members (they begin with an underscore) in what tsc has written. A trial
// bundle of the core says which are frequent; then each file gets the same names.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { buildSync, transformSync } from 'esbuild';

const dist = fileURLToPath(new URL('../dist', import.meta.url));
const settings = { mangleProps: /^_[a-z]/, format: 'esm', target: 'es2020' };

const trial = buildSync({ ...settings, entryPoints: [join(dist, 'index.js')], bundle: true, write: false, mangleCache: {} });
let { mangleCache } = trial;
for (const name of readdirSync(dist, { recursive: true }).sort()) {
  if (!name.endsWith('.js')) continue;
  const path = join(dist, name);
  const result = transformSync(readFileSync(path, 'utf8'), { ...settings, mangleCache });
  mangleCache = result.mangleCache;
  writeFileSync(path, result.code);
}
