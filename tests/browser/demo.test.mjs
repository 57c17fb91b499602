// The demo page in a real browser, on two real nodes.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';
import { browser, dev, open } from './gateway.mjs';

const shots = fileURLToPath(new URL('../../target/browser/', import.meta.url));
let cluster;
let chromium;

before(async () => {
  mkdirSync(shots, { recursive: true });
  cluster = await dev(2);
  chromium = await browser();
});
after(async () => {
  await chromium?.close();
  await cluster?.stop();
});

const counts = (page) =>
  page.evaluate(() => {
    const { ledger } = globalThis.demo;
    // From its first message on, each client is due every later one.
    const due = [...ledger.lanes.values()].reduce((sum, lane) => sum + ledger.messages.filter(({ n }) => n >= lane.first).length, 0);
    return { due, sent: ledger.sent, received: ledger.received, replayed: ledger.replayed, lost: ledger.lost(), duplicates: ledger.duplicates, disorder: ledger.disorder, reported: ledger.reported };
  });
const online = (page) => page.waitForFunction(() => globalThis.demo?.players.length >= 2 && globalThis.demo.players.every((player) => player.online));
/** Everything that was acknowledged has reached every client. */
const caughtUp = (page) =>
  page.waitForFunction(() => {
    const { ledger, players } = globalThis.demo;
    const newest = ledger.messages.at(-1)?.n ?? 0;
    return players.every((player) => player.online && !player.client.queued) && [...ledger.lanes.values()].every((lane) => lane.last >= newest);
  });
const slide = (page, id, value) =>
  page.locator(`#${id}`).evaluate((input, to) => {
    input.value = to;
    input.dispatchEvent(new Event('input'));
  }, value);

async function story(url) {
  const opened = await open(chromium, url);
  await online(opened.page);
  return opened;
}

test('twenty cuts lose nothing, repeat nothing, and each moves the client to the other node', async () => {
  const { page, context, errors } = await story(`${cluster.page}/demo`);
  await slide(page, 'rate', 60);
  await slide(page, 'away', 0);
  for (let cut = 0; cut < 20; cut++) {
    const pane = page.locator(cut % 2 ? '#pane-bob' : '#pane-alice');
    const name = cut % 2 ? 1 : 0;
    const before = await page.evaluate((at) => ({ node: globalThis.demo.players[at].node, moves: globalThis.demo.players[at].lane.moves.length }), name);
    await pane.getByRole('button', { name: 'cut wire' }).click();
    await page.waitForFunction(([at, moves]) => globalThis.demo.players[at].lane.moves.length > moves && globalThis.demo.players[at].online, [name, before.moves]);
    assert.notEqual(await page.evaluate((at) => globalThis.demo.players[at].node, name), before.node);
  }
  await page.getByRole('button', { name: 'pause' }).click();
  await caughtUp(page);
  const seen = await counts(page);
  assert.ok(seen.sent > 100, `sent ${seen.sent}`);
  assert.equal(seen.received, seen.due, JSON.stringify(seen));
  assert.deepEqual({ lost: seen.lost, duplicates: seen.duplicates, disorder: seen.disorder, reported: seen.reported }, { lost: 0, duplicates: 0, disorder: 0, reported: 0 });
  assert.deepEqual(errors, []);
  await context.close();
});

test('a killed node, a freeze and a long absence are made good', async () => {
  const { page, context, errors } = await story(`${cluster.page}/demo`);
  await slide(page, 'rate', 30);
  await slide(page, 'away', 2);
  await page.locator('#pane-alice').getByRole('button', { name: 'cut wire' }).click();
  await page.waitForFunction(() => !globalThis.demo.players[0].online);
  await page.locator('#pane-bob').getByRole('button', { name: 'freeze' }).click();
  await online(page);
  const place = await page.evaluate(() => globalThis.demo.players[1].node);
  await page.locator(`#node-${place}`).getByRole('button', { name: 'kill node' }).click();
  await page.waitForFunction((killed) => globalThis.demo.players[1].node !== killed, place);
  await page.screenshot({ path: `${shots}demo.png` });
  await page.waitForFunction((killed) => !document.querySelector(`#node-${killed}`).classList.contains('down'), place);
  await page.getByRole('button', { name: 'pause' }).click();
  await online(page);
  await caughtUp(page);
  const seen = await counts(page);
  assert.ok(seen.replayed > 0);
  assert.equal(seen.received, seen.due, JSON.stringify(seen));
  assert.equal(seen.lost + seen.duplicates + seen.disorder + seen.reported, 0);
  assert.deepEqual(errors, []);
  await context.close();
});

test('fifty clients share the page and a lost message would be seen', async () => {
  const { page, context } = await story(`${cluster.page}/demo`);
  await slide(page, 'clients', 50);
  await page.waitForFunction(() => globalThis.demo.players.length === 50 && globalThis.demo.players.every((player) => player.online));
  await page.waitForFunction(() => globalThis.demo.ledger.received > 500);
  assert.equal((await counts(page)).lost, 0);
  // The books can tell: a message that one client never got, though it got later ones.
  await page.evaluate(() => {
    const { ledger } = globalThis.demo;
    const lane = [...ledger.lanes.values()][0];
    lane.got.delete([...lane.got.keys()].at(-2));
  });
  await page.waitForFunction(() => document.querySelector('#lost').textContent === '1' && document.querySelector('.guard.broken'));
  await context.close();
});

test('the page fits one screen, asks nobody else, stays small and needs no mouse', async () => {
  const { page, context, requests } = await story(`${cluster.page}/demo`);
  const tall = await page.evaluate(() => document.documentElement.scrollHeight);
  assert.ok(tall <= 720, `the page is ${tall} pixels high`);
  const hosts = new Set(requests.filter((url) => !url.startsWith('data:')).map((url) => new URL(url).host));
  assert.deepEqual([...hosts], [`localhost:${cluster.port}`]);
  let bytes = 0;
  for (const url of new Set(requests.filter((found) => found.includes('/demo/')))) bytes += gzipSync(Buffer.from(await (await fetch(url)).arrayBuffer()), { level: 9 }).length;
  assert.ok(bytes < 60 * 1024, `${bytes} bytes gzipped`);
  const reached = new Set();
  for (let tab = 0; tab < 40; tab++) {
    await page.keyboard.press('Tab');
    reached.add(await page.evaluate(() => document.activeElement?.textContent?.trim() || document.activeElement?.id));
  }
  for (const wanted of ['✂ cut wire', 'freeze 5 s', 'kill node ☠', 'rate', 'pause']) assert.ok(reached.has(wanted), `${wanted} among ${[...reached]}`);
  await context.close();
  const phone = await open(chromium, `${cluster.page}/demo`, { width: 390, height: 800 });
  await online(phone.page);
  const wide = await phone.page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 390, `${wide} pixels wide on a phone`);
  await phone.context.close();
});

// The picture in the README: `PICTURE=1 npm test`.
test('the page tells the story in one picture', async () => {
  const { page, context } = await story(`${cluster.page}/demo`);
  await slide(page, 'rate', 7);
  await page.waitForFunction(() => globalThis.demo.ledger.sent > 25);
  await page.locator('#pane-alice').getByRole('button', { name: 'cut wire' }).click();
  await page.waitForFunction(() => globalThis.demo.ledger.replayed > 3);
  await page.waitForFunction((sent) => globalThis.demo.ledger.sent > sent + 4, (await counts(page)).sent);
  const picture = process.env.PICTURE ? fileURLToPath(new URL('../../docs/demo.png', import.meta.url)) : `${shots}picture.png`;
  await page.screenshot({ path: picture });
  assert.equal((await counts(page)).lost, 0);
  await context.close();
});

for (const dialect of ['topics', 'room']) {
  test(`the ${dialect} dialect shows the same story`, async () => {
    const { page, context } = await story(`${cluster.page}/demo`);
    await page.selectOption('#dialect', dialect);
    await page.waitForFunction(() => /still there|one more|nothing lost|hello/.test(document.querySelector('#frames').textContent));
    await context.close();
  });
}

test('other origins and other names of this machine are turned away', async () => {
  const kill = await fetch(`${cluster.page}/demo/nodes/1/kill`, { method: 'POST', headers: { origin: 'http://evil.example' } });
  assert.equal(kill.status, 403);
  const page = await fetch(`${cluster.page}/demo/`);
  assert.equal(page.status, 200);
  assert.match(page.headers.get('content-security-policy'), /default-src 'self'/);
});
