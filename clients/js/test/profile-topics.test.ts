import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { ConnectionState, WebSocketClient, type TopicsOptions } from 'sparkway/topics';
import { Script } from './scripted.js';
import { failure, fakeTime, settle } from './util.js';

/** A client under fake time, and all its callbacks in order. */
function setup(t: TestContext, options: TopicsOptions = {}) {
  const pass = fakeTime(t);
  const script = new Script();
  const calls: unknown[][] = [];
  const note = (name: string) => (...parts: unknown[]) => void calls.push([name, ...parts]);
  const client = new WebSocketClient('ws://host/ws', {
    webSocket: script.WebSocket,
    onOpen: note('open'),
    onError: note('error'),
    onClose: note('close'),
    onStateChange: note('state'),
    onMaxReconnectAttempts: note('max'),
    onEvent: note('event'),
    onLoss: note('loss'),
    onRejected: note('rejected'),
    ...options,
  });
  t.after(() => client.dispose());
  const states = () => calls.filter(([name]) => name === 'state').map(([, , next]) => next);
  const named = (name: string) => calls.filter(([own]) => own === name).map(([, ...rest]) => rest);
  return { pass, script, client, calls, states, named };
}

async function connected(t: TestContext, options: TopicsOptions = {}) {
  const made = setup(t, options);
  made.client.connect();
  await settle();
  return made;
}

test('S1-01 the token goes into the URL as ?token=', async (t) => {
  const { script } = await connected(t, { token: 'a b' });
  assert.equal(script.last.url, 'ws://host/ws?token=a%20b');
});

test('S1-04 the token goes into a first message where asked', async (t) => {
  const { script } = await connected(t, { token: () => 'abc', auth: 'message' });
  assert.equal(script.last.url, 'ws://host/ws');
  assert.deepEqual(script.last.sent, [{ type: 'auth', token: 'abc' }]);
});

test('S1-10 a token that runs out is refreshed in place', async (t) => {
  const { script } = await connected(t, { token: () => 'abc', auth: 'message' });
  await script.last.say({ type: 'token_expiring', in: 30 });
  assert.equal(script.last.of('auth').length, 2);
});

test('S1-31 pings go out every 30 s, only while open, and stop on close', async (t) => {
  const { script, pass } = await connected(t);
  await pass(29_000, 1_000);
  assert.equal(script.last.of('ping').length, 0);
  await pass(1_500, 500);
  assert.deepEqual(script.last.of('ping'), [{ type: 'ping' }]);
  await pass(30_000, 1_000);
  assert.equal(script.last.of('ping').length, 2);
  script.opens = false;
  await script.sockets[0]!.end(1006);
  await pass(31_000, 1_000);
  assert.equal(script.sockets[0]!.of('ping').length, 2);
});

test('S1-40 S1-41 S1-45 five attempts after 1, 2, 4, 8 and 16 s, then the callback, then no more', async (t) => {
  t.mock.method(Math, 'random', () => 0);
  const { script, pass, client, named } = await connected(t);
  const waits: number[] = [];
  for (let attempt = 0; attempt < 5; attempt++) {
    script.opens = false;
    await script.last.end(1006);
    const [from, count] = [Date.now(), script.sockets.length];
    while (script.sockets.length === count) await pass(100, 100);
    waits.push(Date.now() - from);
  }
  assert.deepEqual(waits, [1_000, 2_000, 4_000, 8_000, 16_000]);
  assert.equal(named('max').length, 0);
  await script.last.end(1006);
  assert.equal(named('max').length, 1);
  assert.equal(client.state, ConnectionState.FAILED);
  await pass(120_000, 10_000);
  assert.equal(script.sockets.length, 6);
});

test('S1-40 jitter of up to 1 s is added to each delay', async (t) => {
  t.mock.method(Math, 'random', () => 0.999);
  const { script, pass } = await connected(t);
  await script.last.end(1006);
  await pass(1_900, 100);
  assert.equal(script.sockets.length, 1);
  await pass(200, 100);
  assert.equal(script.sockets.length, 2);
});

test('S1-42 the counter starts anew on open', async (t) => {
  t.mock.method(Math, 'random', () => 0);
  const { script, pass } = await connected(t);
  for (let round = 0; round < 8; round++) {
    await script.last.end(1006);
    await pass(1_000, 100);
  }
  assert.equal(script.sockets.length, 9, 'each time after one second');
});

for (const code of [1000, 1008]) {
  test(`S1-43 no reconnect after ${code}`, async (t) => {
    const { script, pass } = await connected(t);
    await script.last.end(code);
    await pass(60_000, 5_000);
    assert.equal(script.sockets.length, 1);
  });
}

for (const code of [1001, 1006, 1011, 1012, 4500]) {
  test(`S1-44 reconnect after ${code}`, async (t) => {
    const { script, pass } = await connected(t);
    await script.last.end(code);
    await pass(2_100, 100);
    assert.equal(script.sockets.length, 2);
  });
}

test('S1-46 disconnect closes with 1000 and prevents reconnection, also while waiting', async (t) => {
  const { script, pass, client } = await connected(t);
  client.disconnect();
  assert.deepEqual(script.last.closed, { code: 1000, reason: 'Client disconnect' });
  assert.equal(client.state, ConnectionState.DISCONNECTED);
  client.connect();
  await settle();
  await script.last.end(1006);
  client.disconnect();
  await pass(60_000, 5_000);
  assert.equal(script.sockets.length, 2);
});

test('S1-47 S1-48 topics are remembered always, sent only when open, and all of them once on open', async (t) => {
  const { script, pass, client } = setup(t);
  client.subscribe(['gift-list:123', 'user:456']);
  client.subscribe(['gone']);
  client.unsubscribe(['gone']);
  script.opens = false;
  client.connect();
  await settle();
  assert.deepEqual(script.last.sent, []);
  script.last.open();
  await settle();
  assert.deepEqual(script.last.sent, [{ type: 'subscribe', topics: ['gift-list:123', 'user:456'] }]);
  client.subscribe(['third']);
  client.unsubscribe(['user:456']);
  assert.deepEqual(script.last.sent.slice(1), [{ type: 'subscribe', topics: ['third'] }, { type: 'unsubscribe', topics: ['user:456'] }]);
  script.opens = true;
  await script.last.end(1006);
  await pass(2_100, 100);
  assert.deepEqual(script.last.sent, [{ type: 'subscribe', topics: ['gift-list:123', 'third'] }]);
  assert.deepEqual(client.subscribedTopics, ['gift-list:123', 'third']);
});

test('S1-47 with nothing remembered nothing is sent on open', async (t) => {
  const { script } = await connected(t);
  assert.deepEqual(script.last.sent, []);
});

test('S1-29 more than 100 topics go in requests of 100', async (t) => {
  const { script, client } = setup(t);
  client.subscribe(Array.from({ length: 120 }, (_, at) => `t${at}`));
  client.connect();
  await settle();
  assert.deepEqual(script.last.sent.map(({ topics }) => topics.length), [100, 20]);
});

test('S1-28 subscribing again asks for what was missed, and a loss is told', async (t) => {
  const { script, pass, client, named } = await connected(t);
  client.subscribe(['a', 'b']);
  await script.last.say({ type: 'event', topic: 'a', id: '160', data: { n: 1 } });
  await script.last.say({ type: 'event', topic: 'a', id: '160', data: { n: 1 } });
  assert.deepEqual(named('event'), [[{ topic: 'a', data: { n: 1 }, id: '160' }]]);
  await script.last.end(1001, 'Heartbeat timeout');
  await pass(2_100, 100);
  assert.deepEqual(script.last.sent, [{ type: 'subscribe', topics: ['a', 'b'], since: { a: '160' } }]);
  await script.last.say({ subscribed: ['a', 'b'], recovered: { a: false } });
  assert.deepEqual(named('loss'), [['a']]);
});

test('S1-28 recovery can be switched off', async (t) => {
  const { script, pass, client } = await connected(t, { recover: false });
  client.subscribe(['a']);
  await script.last.say({ type: 'event', topic: 'a', id: '160', data: 1 });
  await script.last.end(1001);
  await pass(2_100, 100);
  assert.deepEqual(script.last.sent, [{ type: 'subscribe', topics: ['a'] }]);
});

test('S1-26 refused topics are told', async (t) => {
  const { script, client, named } = await connected(t);
  client.subscribe(['a', 'b']);
  await script.last.say({ subscribed: ['a'], rejected: [{ topic: 'b', code: 'forbidden' }] });
  assert.deepEqual(named('rejected'), [[[{ topic: 'b', code: 'forbidden' }]]]);
});

test('S1-27 a publish is answered by its messageId, and fails with the connection', async (t) => {
  const { script, client } = await connected(t);
  const answer = client.publish('a', { n: 1 }, 'm1');
  assert.deepEqual(script.last.sent, [{ type: 'publish', topic: 'a', data: { n: 1 }, messageId: 'm1' }]);
  await script.last.say({ published: '160', messageId: 'm1' });
  assert.equal(await answer, '160');
  const refused = failure(client.publish('a', 2, 'm2'));
  await script.last.say({ type: 'error', error: 'forbidden', messageId: 'm2' });
  assert.equal((await refused).message, 'forbidden');
  const lost = failure(client.publish('a', 3));
  await script.last.end(1006);
  assert.equal((await lost).code, 'disconnected');
  assert.equal((await failure(client.publish('a', 4))).code, 'offline');
});

test('S1-49 the number of attempts is configurable, and a hint of the server counts as none', async (t) => {
  t.mock.method(Math, 'random', () => 0);
  const { script, pass, client, named } = await connected(t, { maxReconnectAttempts: 0 });
  await script.last.say({ type: 'reconnect', after_ms: 3_000 });
  script.opens = false;
  await script.last.end(1001);
  await pass(2_900, 100);
  assert.equal(script.sockets.length, 1);
  await pass(200, 100);
  assert.equal(script.sockets.length, 2);
  await script.last.end(1006);
  assert.equal(client.state, ConnectionState.FAILED);
  assert.equal(named('max').length, 1);
});

test('S1-50 S1-51 S1-55 states and callbacks of a first connection', async (t) => {
  assert.deepEqual(Object.values(ConnectionState), ['disconnected', 'connecting', 'connected', 'reconnecting', 'failed']);
  const { script, client, calls } = setup(t);
  assert.equal(client.state, 'disconnected');
  client.connect();
  await settle();
  script.last.onerror?.('boom');
  assert.deepEqual(calls, [
    ['state', 'disconnected', 'connecting'],
    ['state', 'connecting', 'connected'],
    ['open'],
    ['error', 'boom'],
  ]);
});

test('S1-52 S1-53 a close leads over disconnected and reconnecting to connected', async (t) => {
  const { script, pass, states, named, client } = await connected(t);
  const before = states().length;
  await script.last.end(1011, 'oops');
  assert.deepEqual(named('close'), [[1011, 'oops']]);
  assert.equal(client.state, ConnectionState.RECONNECTING, 'while it waits');
  await pass(2_100, 100);
  assert.deepEqual(states().slice(before), ['disconnected', 'reconnecting', 'connecting', 'reconnecting', 'connected']);
});

test('S1-54 failed is entered on 1008, and connect leads out of it', async (t) => {
  const { script, states, client } = await connected(t);
  await script.last.end(1008, 'Unauthorized');
  assert.deepEqual(states(), ['connecting', 'connected', 'failed']);
  client.connect();
  await settle();
  assert.equal(client.state, ConnectionState.CONNECTED);
});

test('S1-60 cleanup unsubscribes, then closes with 1000, then clears the timers', async (t) => {
  const { script, pass, client } = await connected(t);
  client.subscribe(['gift-list:123']);
  client.dispose();
  assert.deepEqual(script.last.sent.slice(1), [{ type: 'unsubscribe', topics: ['gift-list:123'] }]);
  assert.deepEqual(script.last.closed, { code: 1000, reason: 'Component unmounted' });
  await pass(120_000, 10_000);
  assert.deepEqual([script.sockets.length, script.last.of('ping').length], [1, 0]);
});

test('S1-60 cleanup while waiting sends nothing and clears the timer', async (t) => {
  const { script, pass, client } = await connected(t);
  client.subscribe(['a']);
  await script.last.end(1006);
  client.dispose();
  await pass(60_000, 5_000);
  assert.deepEqual([script.sockets.length, script.last.of('unsubscribe')], [1, []]);
});

test('what is no JSON or an error is told and disturbs nothing', async (t) => {
  const { script, named, client } = await connected(t);
  await script.last.say('{');
  await script.last.say({ type: 'error', error: 'unknown type' });
  await script.last.say('null');
  assert.equal(named('error').length, 2);
  assert.equal(client.state, ConnectionState.CONNECTED);
});

test('a callback that throws is reported and disturbs nothing', async (t) => {
  const reports: unknown[] = [];
  const { script, client } = await connected(t, {
    logger: { error: (...parts) => reports.push(parts) },
    onEvent: () => {
      throw new Error('mine');
    },
  });
  await script.last.say({ type: 'event', topic: 'a', data: 1 });
  assert.deepEqual([reports.length, client.state], [1, 'connected']);
});

test('a token callback that fails counts as a failed attempt', async (t) => {
  t.mock.method(Math, 'random', () => 0);
  let calls = 0;
  const { script, pass, client } = await connected(t, {
    token: () => {
      if (++calls < 3) throw new Error('away');
      return 'late';
    },
  });
  assert.equal(client.state, ConnectionState.RECONNECTING);
  await pass(3_100, 100);
  assert.equal(script.last.url, 'ws://host/ws?token=late');
});
