import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const manifest = JSON.parse(read('package.json'));

test('every entry of the package can be imported, and has its types beside it', async () => {
  const expected: Record<string, string[]> = {
    sparkway: ['Sparkway', 'SparkwayError', 'json'],
    'sparkway/msgpack': ['decode', 'encode', 'msgpack'],
    'sparkway/react': ['SparkwayProvider', 'useLatest', 'useMessages', 'usePresence', 'usePublish', 'useSparkway', 'useStatus', 'useTopic'],
    'sparkway/testing': ['FakeServer', 'Logs', 'Seat'],
    'sparkway/topics': ['ConnectionState', 'SparkwayError', 'WebSocketClient'],
    'sparkway/conversation': ['SparkwayError', 'WebSocketConnection'],
  };
  for (const [name, exports] of Object.entries(expected)) assert.deepEqual(Object.keys(await import(name)).sort(), exports, name);
  for (const [name, { types }] of Object.entries<any>(manifest.exports)) if (types) assert.ok(read(types).length > 0, name);
});

test('there is no runtime dependency, and React is optional', () => {
  assert.equal(manifest.dependencies, undefined);
  assert.deepEqual([manifest.peerDependencies, manifest.peerDependenciesMeta], [{ react: '>=18' }, { react: { optional: true } }]);
});

test('importing touches nothing: no window, no document, no timer', () => {
  const code = `
    for (const name of ['window', 'document', 'sessionStorage', 'WebSocket', 'setTimeout', 'addEventListener'])
      Object.defineProperty(globalThis, name, { configurable: true, get() { throw new Error('touched ' + name); } });
    for (const entry of ['', '/msgpack', '/testing', '/topics', '/conversation']) await import('sparkway' + entry);`;
  execFileSync(process.execPath, ['--input-type=module', '-e', code], { cwd: root });
});

test('the lock file names no registry', () => {
  const lock = read('package-lock.json');
  assert.doesNotMatch(lock, /"resolved"/);
  assert.doesNotMatch(lock, /registry/);
});

test('what is internal stays out of the types', () => {
  for (const name of readdirSync(join(root, 'dist'), { recursive: true }) as string[]) {
    if (name.endsWith('.d.ts')) assert.doesNotMatch(read(join('dist', name)), /@internal/, name);
  }
  assert.doesNotMatch(read('dist/client.d.ts'), /^ {4}_\w+\(/m);
  assert.doesNotMatch(read('dist/topic.d.ts').split('export declare class')[1]!, /^ {4}_\w+/m);
});

test('every code block of the README compiles', () => {
  const blocks = [...read('README.md').matchAll(/```tsx?\n(.*?)```/gs)].map(([, code]) => code!);
  assert.ok(blocks.length >= 6);
  const dir = join(root, 'build/readme');
  mkdirSync(dir, { recursive: true });
  blocks.forEach((block, at) => writeFileSync(join(dir, `block-${at}.tsx`), block));
  const options = { noEmit: true, strict: true, jsx: 'react-jsx', module: 'NodeNext', target: 'ES2022', lib: ['ES2023', 'DOM', 'DOM.Iterable'], types: [], skipLibCheck: true };
  writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, include: ['*.tsx'] }));
  const { status, stdout } = spawnSync(join(root, 'node_modules/.bin/tsc'), ['-p', dir], { encoding: 'utf8' });
  assert.equal(status, 0, stdout);
});
