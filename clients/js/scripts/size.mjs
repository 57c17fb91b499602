// The size gate: what each entry adds to a bundle, minified and gzipped (ecosystem.md 6.1).
import { gzipSync } from 'node:zlib';
import { buildSync } from 'esbuild';

const KIB = 1024;
const root = new URL('..', import.meta.url).pathname;

const sizeOf = (code) => {
  const { outputFiles } = buildSync({
    stdin: { contents: code, resolveDir: root },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2020',
    external: ['react'],
    write: false,
  });
  return gzipSync(outputFiles[0].contents, { level: 9 }).length / KIB;
};

const everything = (...entries) => entries.map((entry) => `export * from 'sparkway${entry}';`).join('\n');
const core = sizeOf(everything(''));
const rows = [
  ['core', core, 9.0, 10.0],
  ['msgpack', sizeOf(everything('', '/msgpack')) - core, 3.0, 3.0],
  ['react', sizeOf(everything('', '/react')) - core, 1.5, 1.5],
  ['topics alone', sizeOf(everything('/topics')), 4.0, 4.0],
  ['conversation alone', sizeOf(everything('/conversation')), 4.0, 4.0],
];

let failed = false;
for (const [name, size, budget, limit] of rows) {
  const verdict = size > limit ? 'FAIL' : size > budget ? 'over budget' : 'ok';
  failed ||= size > limit;
  console.log(`${name.padEnd(20)} ${size.toFixed(2).padStart(6)} KiB   budget ${budget.toFixed(1)}, limit ${limit.toFixed(1)}   ${verdict}`);
}
process.exit(failed ? 1 : 0);
