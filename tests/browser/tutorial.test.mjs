// The page of docs/tutorials/02-in-your-own-page.md, taken from there word for word.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { execFileSync } from 'node:child_process';
import { browser, dev, open } from './gateway.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = `${root}target/browser/page`;
const tutorial = readFileSync(`${root}docs/tutorials/02-in-your-own-page.md`, 'utf8');
const file = (name) => tutorial.match(new RegExp(`run: file target/my-page/${name} -->\\n\`\`\`\\w+\\n([\\s\\S]*?)\`\`\``))[1];
let cluster;
let chromium;
let pages;

before(async () => {
  cluster = await dev(2);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(`${folder}/node_modules`, { recursive: true });
  symlinkSync(`${root}clients/js`, `${folder}/node_modules/sparkway`);
  writeFileSync(`${folder}/main.ts`, file('main.ts').replaceAll(':8000', `:${cluster.port}`).replaceAll(':8001', `:${cluster.port + 1}`));
  execFileSync(`${root}clients/js/node_modules/.bin/esbuild`, ['main.ts', '--bundle', '--outfile=main.js', '--log-level=warning'], { cwd: folder });
  pages = createServer((request, response) => {
    const script = request.url === '/main.js';
    response.setHeader('content-type', script ? 'text/javascript' : 'text/html');
    response.end(script ? readFileSync(`${folder}/main.js`) : file('index.html'));
  });
  await new Promise((done) => pages.listen(0, '127.0.0.1', done));
  chromium = await browser();
});
after(async () => {
  await chromium?.close();
  pages?.close();
  await cluster?.stop();
});

const say = async (page, text) => {
  await page.fill('input', text);
  await page.click('button');
};
const shown = (page, count) => page.waitForFunction((wanted) => document.querySelectorAll('li').length >= wanted, count);
const texts = (page) => page.locator('li').allTextContents();

test('two windows of the tutorial page talk through killed nodes and a lost network', async () => {
  const url = `http://localhost:${pages.address().port}/`;
  const [ann, ben] = [await open(chromium, url), await open(chromium, url)];
  for (const { page } of [ann, ben]) await page.waitForFunction(() => document.title.startsWith('online'));
  await say(ann.page, 'one');
  for (const { page } of [ann, ben]) await shown(page, 1);

  await ben.context.setOffline(true);
  for (const node of [1, 2]) {
    const other = cluster.port + (node === 1 ? 1 : 0);
    assert.equal((await fetch(`http://localhost:${other}/demo/nodes/${node}/kill`, { method: 'POST' })).status, 202);
    await say(ann.page, `while node ${node} was killed`);
    await shown(ann.page, 1 + node);
    for (let alive = false; !alive; ) {
      const nodes = await (await fetch(`http://localhost:${other}/demo/nodes`)).json();
      alive = nodes[node - 1].alive;
      if (!alive) await new Promise((done) => setTimeout(done, 100));
    }
  }
  await ben.context.setOffline(false);
  await shown(ben.page, 3);
  assert.deepEqual(await texts(ann.page), ['one', 'while node 1 was killed', 'while node 2 was killed']);
  const heard = (await texts(ben.page)).map((text) => text.replace(' (was missed)', ''));
  assert.deepEqual(heard, ['one', 'while node 1 was killed', 'while node 2 was killed']);
  assert.deepEqual([...ann.errors, ...ben.errors], []);
  for (const { context } of [ann, ben]) await context.close();
});
