// Shortens the names of private members (they begin with an underscore) in what tsc has written. One run
// over all files: the names agree between them, and the most frequent ones become the shortest.
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { buildSync } from 'esbuild';

const dist = fileURLToPath(new URL('../dist', import.meta.url));
const files = readdirSync(dist, { recursive: true }).filter((name) => name.endsWith('.js'));

buildSync({
  entryPoints: files.map((name) => join(dist, name)),
  outdir: dist,
  outbase: dist,
  allowOverwrite: true,
  format: 'esm',
  target: 'es2020',
  mangleProps: /^_[a-z]/,
  logLevel: 'error',
});
