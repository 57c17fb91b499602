// The console in a real browser, on real nodes.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { browser, dev, open, serve } from './gateway.mjs';

const KEY = 'swk_console_0123456789abcdefghij';
let cluster;
let chromium;

before(async () => {
  cluster = await dev(2);
  chromium = await browser();
});
after(async () => {
  await chromium?.close();
  await cluster?.stop();
});

const publish = (body, path = '/v1/publish') =>
  fetch(`${cluster.internal}${path}`, { method: 'POST', body: JSON.stringify(body) }).then((response) => response.json());

test('the page asks only its own node, under a strict policy', async () => {
  const { page, context, errors, requests } = await open(chromium, `${cluster.internal}/console`);
  await page.locator('.tile').nth(1).waitFor();
  assert.equal(await page.locator('.tile').count(), 2);
  for (const view of ['topics', 'sessions', 'publish', 'hooks', 'config']) {
    await page.locator(`nav a[href="#${view}"]`).click();
    await page.locator('h2').first().waitFor();
  }
  const policy = (await fetch(`${cluster.internal}/console/`)).headers.get('content-security-policy');
  assert.match(policy, /default-src 'none'/);
  assert.ok(!policy.includes('unsafe'));
  assert.ok(requests.every((url) => url.startsWith(cluster.internal) || url.startsWith('data:')), requests.join('\n'));
  assert.deepEqual(errors, []);
  await context.close();
});

test('what is published in the form appears in the live tail of another page', async () => {
  const reader = await open(chromium, `${cluster.internal}/console/#topics/news%3A1`);
  await reader.page.locator('#tail-state', { hasText: 'live' }).waitFor();
  const writer = await open(chromium, `${cluster.internal}/console/#publish?topic=news%3A1`);
  await writer.page.locator('#data').fill('{"text":"it\'s here"}');
  assert.match(await writer.page.locator('#curl').textContent(), /curl -s http:\/\/.*\/v1\/publish -d '/);
  assert.match(await writer.page.locator('#command').textContent(), /^sparkway pub news:1 /);
  await writer.page.locator('form.fields button').click();
  await writer.page.locator('#outcome', { hasText: '"duplicate":false' }).waitFor();
  await reader.page.locator('#tail li', { hasText: "it's here" }).waitFor();
  assert.deepEqual([...reader.errors, ...writer.errors], []);
  await reader.context.close();
  await writer.context.close();
});

test('ten thousand topics stay quick, by mouse and by keyboard', async () => {
  for (let first = 0; first < 10_000; first += 1000) {
    const topics = Array.from({ length: 1000 }, (_, at) => `many:${String(first + at).padStart(5, '0')}`);
    const { results } = await publish({ topics, data: 1 }, '/v1/broadcast');
    assert.ok(results.every((one) => one.published));
  }
  const { page, context, errors } = await open(chromium, `${cluster.internal}/console/#topics`);
  await page.locator('.row').first().waitFor();
  await page.locator('#prefix').fill('many:');
  await page.locator('#prefix').press('Enter');
  await page.waitForFunction(() => document.querySelector('.list').getAttribute('aria-label') === 'Topics' && document.querySelector('.row')?.textContent.startsWith('many:'));
  // Scrolls to the end, page by page.
  await page.waitForFunction(() => {
    const box = document.querySelector('.list');
    box.scrollTop = box.scrollHeight;
    return document.querySelector('.list + p').textContent.startsWith('10000 topics') && !document.querySelector('.list + p').textContent.includes('more');
  }, null, { timeout: 60_000 });
  const worst = await page.evaluate(async () => {
    const box = document.querySelector('.list');
    const times = [];
    for (let step = 0; step < 40; step++) {
      const began = performance.now();
      box.scrollTop = (box.scrollHeight * ((step * 7) % 40)) / 40;
      box.dispatchEvent(new Event('scroll'));
      times.push(performance.now() - began);
      await new Promise(requestAnimationFrame);
    }
    return { median: times.sort((one, other) => one - other)[20], rows: document.querySelectorAll('.row').length };
  });
  assert.ok(worst.rows < 100, `${worst.rows} rows drawn`);
  assert.ok(worst.median < 50, `${worst.median} ms per step`);
  await page.locator('.list').focus();
  await page.keyboard.press('End');
  await page.locator('.row[aria-selected="true"]', { hasText: 'many:09999' }).waitFor();
  await page.keyboard.press('Enter');
  await page.locator('h2', { hasText: 'many:09999' }).waitFor();
  assert.deepEqual(errors, []);
  await context.close();
});

test('a session is shown with its position and can be ended', async () => {
  const client = await open(chromium, `${cluster.page}/healthz`);
  const data = await client.page.evaluate(
    (url) =>
      new Promise((welcome) => {
        const socket = new WebSocket(url);
        globalThis.ended = new Promise((done) => socket.addEventListener('close', (event) => done(event.code)));
        socket.addEventListener('open', () => socket.send(JSON.stringify({ type: 'ws:connect', data: {} })));
        socket.addEventListener('message', (event) => {
          const frame = JSON.parse(event.data);
          if (frame.type === 'ws:connect_ack') {
            globalThis.data = frame.data;
            socket.send(JSON.stringify({ type: 'topic:subscribe', id: '1', data: { topics: ['news:1'] } }));
          } else if (frame.type === 'ws:ack') welcome(globalThis.data);
        });
      }),
    `ws://127.0.0.1:${cluster.port}/ws`,
  );
  const { page, context, errors } = await open(chromium, `${cluster.internal}/console/#sessions?topic=news%3A1`);
  await page.locator('.row', { hasText: data.session_id }).click();
  await page.locator('dd', { hasText: data.session_id }).waitFor();
  await page.locator('dt', { hasText: 'head' }).waitFor();
  page.once('dialog', (dialog) => dialog.accept());
  await page.locator('button.bad').click();
  assert.equal(await client.page.evaluate(() => globalThis.ended), 4011);
  assert.deepEqual(errors, []);
  await context.close();
  await client.context.close();
});

test('where keys are needed, nothing is shown without one', async () => {
  const node = await serve(['--set', `api.keys=${KEY}`, '--set', 'auth.mode=off']);
  try {
    const { page, context } = await open(chromium, `${node.internal}/console/`);
    await page.locator('#login').waitFor();
    assert.equal(await page.locator('main').textContent(), '');
    await page.locator('#key').fill('swk_console_wrongwrongwrongwrong');
    await page.keyboard.press('Enter');
    await page.locator('#trouble', { hasText: 'does not know' }).waitFor();
    await page.locator('#key').fill(KEY);
    await page.keyboard.press('Enter');
    await page.locator('.tile').waitFor();
    await page.locator('nav a[href="#config"]').click();
    await page.locator('#settings', { hasText: 'swk_console_(hidden)' }).waitFor();
    assert.ok(!(await page.content()).includes(KEY));
    assert.ok(!page.url().includes('swk_'));
    await page.locator('#leave').click();
    await page.locator('#login').waitFor();
    await context.close();
  } finally {
    await node.stop();
  }
});

test('a backend that fails is seen in the hooks', async () => {
  let broken = false;
  const backend = createServer((request, response) => {
    request.resume();
    response.writeHead(broken ? 500 : 200, { 'content-type': 'application/json' }).end('{"allow":true}');
  });
  await new Promise((done) => backend.listen(0, '127.0.0.1', done));
  const url = `http://127.0.0.1:${backend.address().port}/`;
  const set = { 'auth.mode': 'off', 'hooks.secret': 'a secret of this test alone', 'hooks.subscribe': url, 'namespaces.asked.subscribe': 'hook' };
  const node = await serve(Object.entries(set).flatMap(([key, value]) => ['--set', `${key}=${value}`]));
  try {
    const { page, context, errors } = await open(chromium, `${node.internal}/console/#hooks`);
    await page.locator('[data-hook="subscribe"]', { hasText: 'not asked yet' }).waitFor();
    const client = await open(chromium, `http://127.0.0.1:${node.port}/healthz`);
    await client.page.evaluate(async (address) => {
      const socket = new WebSocket(address);
      const answers = [];
      socket.addEventListener('message', () => answers.shift()?.());
      globalThis.ask = (frame) =>
        new Promise((answered) => {
          answers.push(answered);
          socket.send(JSON.stringify(frame));
        });
      await new Promise((done) => socket.addEventListener('open', done));
      await globalThis.ask({ type: 'ws:connect' });
    }, `ws://127.0.0.1:${node.port}/ws`);
    const subscribe = (number) =>
      client.page.evaluate((topic) => globalThis.ask({ type: 'topic:subscribe', id: topic, data: { topics: [topic] } }), `asked:${number}`);
    await subscribe(0);
    await page.locator('[data-hook="subscribe"]', { hasText: /ok1/ }).waitFor();
    broken = true;
    for (let number = 1; number <= 12; number++) await subscribe(number);
    await page.locator('[data-hook="subscribe"]', { hasText: 'left alone' }).waitFor();
    assert.deepEqual(errors, []);
    await client.context.close();
    await context.close();
  } finally {
    await node.stop();
    backend.close();
  }
});

test('both colour schemes and a small screen are served', async () => {
  for (const scheme of ['light', 'dark']) {
    const context = await chromium.newContext({ colorScheme: scheme, viewport: { width: 360, height: 640 } });
    const page = await context.newPage();
    await page.goto(`${cluster.internal}/console/`);
    await page.locator('.tile').first().waitFor();
    const [background, overflow] = await page.evaluate(() => [getComputedStyle(document.body).backgroundColor, document.documentElement.scrollWidth - innerWidth]);
    const dark = Number(background.match(/\d+/)[0]) < 128;
    assert.equal(dark, scheme === 'dark', background);
    assert.ok(overflow <= 0, `${overflow} px too wide`);
    await context.close();
  }
});
