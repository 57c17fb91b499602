import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { SparkwayOptions } from 'sparkway';
import { FakeServer } from 'sparkway/testing';
import { fakeTime, MemoryStore, online, rig, settle, texts, until } from './util.js';

/** Gives the global scope the life of a page, and takes it away after the test. */
function page(t: TestContext) {
  const scope = new EventTarget();
  const document = Object.assign(new EventTarget(), { visibilityState: 'visible' });
  const globals: Record<string, unknown> = {
    document,
    sessionStorage: new MemoryStore(),
    addEventListener: scope.addEventListener.bind(scope),
    removeEventListener: scope.removeEventListener.bind(scope),
  };
  for (const [name, value] of Object.entries(globals)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  t.after(() => void delete (globalThis as any).document); // the listeners have to be taken off still
  const emit = (type: string, fields = {}) => scope.dispatchEvent(Object.assign(new Event(type), fields));
  return { emit, document, storage: globals.sessionStorage as MemoryStore };
}

const TAB: SparkwayOptions = { session: { persist: 'tab' } };

test('a reloaded page keeps its session and gets what it missed', async (t) => {
  const { emit, storage } = page(t);
  const server = new FakeServer();
  const before = await online(t, TAB, server);
  const topic = before.client.topic('room');
  await topic.publish('seen');
  await until(() => before.messages.length === 1);
  assert.equal(storage.values.size, 0, 'nothing is kept while the page lives: a duplicated tab would take it');
  emit('pagehide', { persisted: false });
  assert.equal(storage.values.size, 1);
  before.client.disconnect();
  server.publish('room', 'missed');
  const after = rig(t, TAB, server);
  assert.equal(storage.values.size, 0);
  after.client.connect();
  await after.client.ready();
  assert.equal(after.client.status.sessionId, before.client.status.sessionId);
  const seen: unknown[] = [];
  await settle();
  after.client.topic('room').on('message', ({ data }) => seen.push(data));
  server.publish('room', 'live');
  await until(() => seen.length === 2);
  assert.deepEqual([seen, after.losses], [['missed', 'live'], []]);
  assert.equal(after.frames('topic:subscribe').length, 1, 'it was subscribed already');
});

test('the iterator of a reloaded page begins with what was missed', async (t) => {
  const { emit } = page(t);
  const server = new FakeServer();
  const before = await online(t, TAB, server);
  await before.client.topic('room').publish('seen');
  emit('pagehide', { persisted: false });
  before.client.disconnect();
  for (let at = 0; at < 300; at++) server.publish('room', at);
  const after = await online(t, TAB, server);
  await settle();
  const seen: unknown[] = [];
  for await (const { data } of after.client.topic('room').messages()) if (seen.push(data) === 300) break;
  assert.deepEqual(seen, Array.from({ length: 300 }, (_, at) => at));
  assert.deepEqual(after.losses, []);
});

test('what a reloaded page does not join again is left', async (t) => {
  const { emit } = page(t);
  const pass = fakeTime(t);
  const server = new FakeServer();
  const before = rig(t, TAB, server);
  before.client.connect();
  before.client.topic('room');
  await pass(10);
  emit('pagehide', { persisted: false });
  before.client.disconnect();
  const after = rig(t, TAB, server);
  after.client.connect();
  await pass(11_000, 500);
  assert.deepEqual(after.frames('topic:unsubscribe').map(({ data }) => data.topics), [['room']]);
});

test('a page that crashed leaves nothing behind that could be taken', async (t) => {
  const { storage } = page(t);
  const made = await online(t, TAB);
  await made.client.topic('room').publish(1);
  assert.equal(storage.values.size, 0);
});

test('a page in the back/forward cache drops its socket and resumes when it is shown', async (t) => {
  const { emit, storage } = page(t);
  const made = await online(t, { ...TAB, reconnect: { min: 60_000, jitter: 'none' } });
  const topic = made.client.topic('room');
  await until(() => topic.state === 'live');
  const { sessionId } = made.client.status;
  emit('pagehide', { persisted: true });
  assert.equal(made.client.status.state, 'reconnecting');
  made.server.publish('room', 'missed');
  emit('pageshow', { persisted: true });
  await until(() => made.messages.length === 1);
  assert.equal(made.client.status.sessionId, sessionId);
  assert.equal(storage.values.size, 0);
});

test('a page that comes back takes the token that a later page of the tab got', async (t) => {
  const { emit } = page(t);
  const server = new FakeServer();
  const first = await online(t, { ...TAB, reconnect: { min: 60_000, jitter: 'none' } }, server);
  const topic = first.client.topic('room');
  await until(() => topic.state === 'live');
  const { sessionId } = first.client.status;
  emit('pagehide', { persisted: true });
  const second = await online(t, TAB, server);
  await until(() => second.frames('ws:ack').some(({ data }) => data.ackId === 'c1'));
  server.publish('room', 'seen by the second only');
  emit('pagehide', { persisted: false });
  second.client.disconnect();
  await settle();
  emit('pageshow', { persisted: true });
  await until(() => first.messages.length === 1);
  assert.equal(first.client.status.sessionId, sessionId);
});

test('the network or the page coming back ends the wait', async (t) => {
  const { emit, document } = page(t);
  const made = await online(t, { reconnect: { min: 60_000, jitter: 'none' } });
  for (const wake of [() => emit('online'), () => document.dispatchEvent(new Event('visibilitychange'))]) {
    made.server.cut();
    await until(() => made.client.status.nextRetryAt);
    wake();
    await until(() => made.client.status.state === 'online');
  }
  document.visibilityState = 'hidden';
  made.server.cut();
  await until(() => made.client.status.nextRetryAt);
  document.dispatchEvent(new Event('visibilitychange'));
  await settle();
  assert.equal(made.client.status.state, 'reconnecting');
});

test('a network that changed under an open socket is probed at once, and a dead link is left soon', async (t) => {
  const { emit } = page(t);
  const pass = fakeTime(t);
  const made = rig(t);
  made.client.connect();
  await pass(1_000, 100);
  assert.equal(made.client.status.state, 'online');
  emit('offline');
  await settle();
  assert.deepEqual(made.frames('ws:ping'), [{ type: 'ws:ping', id: 'wake' }]);
  await pass(3_000, 100);
  assert.equal(made.client.status.state, 'online', 'the link answered');
  made.server.intercept = () => true; // nothing is answered any more
  emit('online');
  await pass(2_400, 100);
  assert.equal(made.client.status.state, 'online');
  await pass(200, 100);
  assert.equal(made.client.status.state, 'reconnecting');
});

test('queued publishes outlive a reload under their ids, and are stored once', async (t) => {
  const { emit } = page(t);
  const store = new MemoryStore();
  const server = new FakeServer();
  const options = { ...TAB, queue: { store } };
  const before = await online(t, options, server);
  server.intercept = ({ type }, seat) => {
    if (type === 'topic:publish') seat.send = () => {}; // stored, and the answer lost
  };
  void before.client.publish('room', 'sent').catch(() => {});
  await until(() => server.logs.of('room').length === 1);
  void before.client.publish('room', 'waiting').catch(() => {});
  emit('pagehide', { persisted: false });
  server.intercept = undefined;
  before.client.disconnect();
  const after = await online(t, options, server);
  await until(() => after.client.queued === 0);
  assert.deepEqual(texts(server.logs.of('room') as any), ['sent', 'waiting']);
  assert.deepEqual(after.errors, []);
});

test('a publish that may be stored is not sent again in another session', async (t) => {
  const { emit } = page(t);
  const store = new MemoryStore();
  const server = new FakeServer();
  const options = { session: { persist: 'none' as const }, queue: { store } };
  const before = await online(t, options, server);
  server.intercept = ({ type }) => type === 'topic:publish';
  void before.client.publish('room', 'sent').catch(() => {});
  await until(() => before.frames('topic:publish').length === 1);
  void before.client.publish('room', 'waiting').catch(() => {});
  emit('pagehide', { persisted: false });
  server.intercept = undefined;
  const after = await online(t, options, server);
  await until(() => after.client.queued === 0);
  assert.deepEqual(texts(server.logs.of('room') as any), ['waiting']);
  await until(() => after.errors.length === 1);
  assert.equal(after.errors[0]!.code, 'session_lost');
});

test('without a page, a given store is written as things change', async (t) => {
  const store = new MemoryStore();
  const server = new FakeServer();
  const options = { session: { persist: store, key: 'worker' }, queue: { store } };
  const before = await online(t, options, server);
  const topic = before.client.topic('room');
  await until(() => topic.state === 'live');
  server.intercept = ({ type }) => type === 'topic:publish';
  void before.client.publish('room', 'waiting').catch(() => {});
  await until(() => [...store.values.values()].some((value) => value.includes('waiting')));
  const copy = new MemoryStore();
  for (const [key, value] of store.values) copy.values.set(key, value); // the process dies here
  server.intercept = undefined;
  const after = await online(t, { session: { persist: copy, key: 'worker' }, queue: { store: copy } }, server);
  assert.equal(after.client.status.sessionId, before.client.status.sessionId);
  await until(() => server.logs.of('room').length === 1);
});

test('a store that refuses is as good as none', async (t) => {
  const store = {
    getItem: () => '{"broken',
    setItem: () => {
      throw new Error('full');
    },
    removeItem: () => {
      throw new Error('forbidden');
    },
  };
  const made = await online(t, { session: { persist: store }, queue: { store } });
  await made.client.publish('room', 1);
  assert.deepEqual(made.errors, []);
});
