// Shortens the names of private members (they begin with an underscore) in what tsc has written.
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { transformSync } from 'esbuild';

const dist = fileURLToPath(new URL('../dist', import.meta.url));
let mangleCache = {};

function shrink(dir) {
  for (const name of readdirSync(dir).sort()) {
    const path = join(dir, name);
    if (statSync(path).isDirectory()) shrink(path);
    else if (name.endsWith('.js')) {
      const result = transformSync(readFileSync(path, 'utf8'), { mangleProps: /^_[a-z]/, mangleCache, format: 'esm', target: 'es2020' });
      mangleCache = result.mangleCache;
      writeFileSync(path, result.code);
    }
  }
}

shrink(dist);
