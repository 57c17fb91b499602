/** Every row of the acceptance list that speaks of a client library has a test that names it. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

const range = (source: string, from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, at) => `${source}-${from + at}`);

/** `spec/dialects.md`: source 1 (topics) and source 2 (conversation). */
const ROWS = ['S1-31', ...range('S1', 40, 55), 'S1-60', ...range('S2', 10, 16), 'S2-38', ...range('S2', 41, 51)];
/** Rows of these ranges that a server keeps; tests/dialects/rows.rs has them. */
const SERVER = ['S2-47', 'S2-49'];

test('each row of the client libraries is named by a test', () => {
  const folder = new URL('../test/', import.meta.url);
  const titles = readdirSync(folder)
    .filter((file) => file.startsWith('profile-'))
    .flatMap((file) => readFileSync(new URL(file, folder), 'utf8').match(/test\((['`]).*?\1/g) ?? [])
    .join('\n');
  assert.deepEqual(ROWS.filter((row) => !SERVER.includes(row) && !titles.includes(row)), []);
});
