// What happens to pages (reload, no network, frozen in the background, back and forward, two tabs)
// must not happen to messages. Real Chromium, two real nodes.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { browser, dev, open } from './gateway.mjs';
import { network, pages } from './page.mjs';

let cluster;
let ports;
let chromium;
let site;

before(async () => {
  cluster = await dev(2);
  ports = [cluster.port, cluster.port + 1];
  site = await pages();
  // Debian's Chromium as people run it: automation switches the back/forward cache off.
  chromium = await browser({ ignoreDefaultArgs: ['--disable-back-forward-cache'] });
});
after(async () => {
  await chromium?.close();
  site?.close();
  await cluster?.stop();
});

const online = (page) => page.waitForFunction(() => globalThis.rt?.status.state === 'online' && globalThis.topic.state === 'live');
const session = (page) => page.evaluate(() => globalThis.rt.status.sessionId);
const numbers = (tab) => site.books(tab).filter(({ kind }) => kind === 'message').map(({ value }) => value.data);
const losses = (tab) => site.books(tab).filter(({ kind }) => kind === 'loss');

async function until(what, holds) {
  const deadline = Date.now() + 30_000;
  while (!holds()) {
    assert.ok(Date.now() < deadline, `not within 30 s: ${what()}`);
    await new Promise((done) => setImmediate(done));
  }
}

/** Another page that publishes 0, 1, 2, … to the topic; `say(n)` publishes the next n and waits for their ids. */
async function speaker(topic) {
  const { page, context } = await open(chromium, site.at(ports, topic, `${topic}-speaker`));
  await online(page);
  let next = 0;
  return {
    say: async (count) => {
      const from = next;
      next += count;
      await page.evaluate(async ([name, first, end]) => {
        for (let n = first; n < end; n++) await globalThis.rt.publish(name, n);
      }, [topic, from, next]);
    },
    said: () => Array.from({ length: next }, (_, n) => n),
    close: () => context.close(),
  };
}

/** A page on the topic, and its check: everything said, in order, once, nothing reported lost. */
async function listener(topic, over = ports) {
  const tab = `${topic}-listener`;
  const opened = await open(chromium, site.at(over, topic, tab));
  await online(opened.page);
  return {
    ...opened,
    tab,
    heard: async (said) => {
      await until(() => `${numbers(tab)} of ${said}`, () => numbers(tab).length >= said.length);
      assert.deepEqual(numbers(tab), said);
      assert.deepEqual(losses(tab), []);
      assert.deepEqual(opened.errors, []);
    },
  };
}

test('a reloaded page keeps its session and misses nothing', async () => {
  const page = await listener('reload');
  const other = await speaker('reload');
  await other.say(3);
  await page.heard(other.said());
  const kept = await session(page.page);
  for (let reload = 0; reload < 3; reload++) {
    await page.page.goto('about:blank', { waitUntil: 'commit' });
    await other.say(4);
    await page.page.goBack({ waitUntil: 'commit' });
    await online(page.page);
    assert.equal(await session(page.page), kept);
    await page.heard(other.said());
  }
  const before = await page.page.evaluate(() => globalThis.loaded);
  await Promise.all([page.page.reload(), other.say(20)]);
  await online(page.page);
  assert.notEqual(await page.page.evaluate(() => globalThis.loaded), before);
  assert.equal(await session(page.page), kept);
  await page.heard(other.said());
  await Promise.all([page.context.close(), other.close()]);
});

test('a publish that waits when its page is reloaded is stored once', async () => {
  const net = await network(cluster, () => page.context);
  const page = await listener('queued', net.ports);
  const other = await listener('queued-books');
  await net.off();
  await page.page.waitForFunction(() => globalThis.rt.status.state !== 'online');
  await page.page.evaluate(() => {
    for (let n = 0; n < 5; n++) globalThis.rt.publish('queued-books', n).catch(() => {});
  });
  await page.page.waitForFunction(() => globalThis.rt.queued === 5);
  await page.page.evaluate(() => dispatchEvent(new PageTransitionEvent('pagehide', { persisted: false })));
  await net.on();
  await page.page.reload();
  await online(page.page);
  await other.heard([0, 1, 2, 3, 4]);
  await Promise.all([page.context.close(), other.context.close()]);
});

test('a page without network waits and catches up when it is back', async () => {
  const net = await network(cluster, () => page.context);
  const page = await listener('offline', net.ports);
  const other = await speaker('offline');
  await other.say(2);
  await page.heard(other.said());
  const kept = await session(page.page);
  for (let cut = 0; cut < 3; cut++) {
    await net.off();
    await page.page.waitForFunction(() => globalThis.rt.status.state === 'reconnecting');
    await other.say(10);
    await net.on();
    await online(page.page);
    assert.equal(await session(page.page), kept);
    await page.heard(other.said());
  }
  await Promise.all([page.context.close(), other.close()]);
});

test('a tab that is frozen in the background hears everything when it is shown again', async () => {
  const page = await listener('frozen');
  const other = await speaker('frozen');
  const kept = await session(page.page);
  const devtools = await page.context.newCDPSession(page.page);
  for (let round = 0; round < 2; round++) {
    await devtools.send('Page.setWebLifecycleState', { state: 'frozen' });
    await other.say(50);
    await devtools.send('Page.setWebLifecycleState', { state: 'active' });
    await online(page.page);
    assert.equal(await session(page.page), kept);
    await page.heard(other.said());
  }
  await Promise.all([page.context.close(), other.close()]);
});

test('a page that comes back by the back button goes on where it was', async () => {
  const page = await listener('history');
  const other = await speaker('history');
  const kept = await session(page.page);
  const before = await page.page.evaluate(() => globalThis.loaded);
  await other.say(1);
  await page.heard(other.said());
  await page.page.goto(site.elsewhere);
  await other.say(10);
  await page.page.goBack({ waitUntil: 'commit' });
  await online(page.page);
  const { loaded, persisted } = await page.page.evaluate(() => ({ loaded: globalThis.loaded, persisted: globalThis.persisted }));
  // From the cache the same page goes on; the test would prove less than it says without it.
  assert.deepEqual({ same: loaded === before, persisted }, { same: true, persisted: true });
  assert.equal(await session(page.page), kept);
  await page.heard(other.said());
  await Promise.all([page.context.close(), other.close()]);
});

test('a duplicated tab has a session of its own and takes nothing from the first', async () => {
  const page = await listener('tabs');
  const other = await speaker('tabs');
  const kept = await session(page.page);
  const [copy] = await Promise.all([
    page.context.waitForEvent('page'),
    // A window that a page opens on its own origin begins with a copy of its sessionStorage.
    page.page.evaluate((url) => void globalThis.open(url), site.at(ports, 'tabs', 'tabs-copy')),
  ]);
  await online(copy);
  assert.notEqual(await session(copy), kept);
  await other.say(20);
  await page.heard(other.said());
  await until(() => numbers('tabs-copy'), () => numbers('tabs-copy').length >= 20);
  assert.deepEqual(numbers('tabs-copy'), other.said());
  assert.equal(await session(page.page), kept);
  assert.equal(await page.page.evaluate(() => globalThis.rt.status.state), 'online');
  await Promise.all([page.context.close(), other.close()]);
});
