// Bundles the core for the demo page and the console, which the gateway embeds. `--check` fails when the
// committed bundle is not the one that the sources give.
import { readFileSync, writeFileSync } from 'node:fs';
import { buildSync } from 'esbuild';

const target = new URL('../../../crates/sparkway/demo/assets/sparkway.js', import.meta.url);
const { outputFiles } = buildSync({
  entryPoints: [new URL('../dist/index.js', import.meta.url).pathname],
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2020',
  legalComments: 'none',
  write: false,
});
const bundle = `// Made from clients/js by scripts/demo.mjs; do not edit.\n${outputFiles[0].text}`;
if (!process.argv.includes('--check')) writeFileSync(target, bundle);
else if (readFileSync(target, 'utf8') !== bundle) {
  console.error('crates/sparkway/demo/assets/sparkway.js is not what clients/js gives: run `npm run demo` in clients/js');
  process.exit(1);
}
