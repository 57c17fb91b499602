import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { WebSocketConnection, type ConnectionState, type ConversationOptions } from 'sparkway/conversation';
import { Script } from './scripted.js';
import { failure, fakeTime, MemoryStore, settle } from './util.js';

function setup(t: TestContext, options: Partial<ConversationOptions> = {}) {
  const pass = fakeTime(t);
  const script = new Script();
  const states: ConnectionState[] = [];
  const logs: string[] = [];
  const client = new WebSocketConnection((state) => void states.push(state), {
    url: 'wss://host/ws/conversation',
    clientId: 'me',
    webSocket: script.WebSocket,
    logger: { error: (text) => void logs.push(String(text)) },
    ...options,
  });
  t.after(() => client.close());
  const confirm = () => script.last.say({ type: 'connect_confirm', clientId: 'me', conversationId: 'c1', status: 'confirmed', timestamp: new Date().toISOString() });
  const respond = (messageId: string, content = 'ok') => script.last.say({ type: 'response', messageId, content, timestamp: new Date().toISOString() });
  return { pass, script, client, states, logs, confirm, respond };
}

async function confirmed(t: TestContext, options: Partial<ConversationOptions> = {}) {
  const made = setup(t, options);
  const ready = made.client.connect();
  await settle();
  await made.confirm();
  await ready;
  return made;
}

const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

test('S2-01 S2-50 connect sends the handshake and resolves on confirmation', async (t) => {
  const { script, client, confirm } = setup(t);
  let resolved = false;
  const ready = client.connect().then(() => (resolved = true));
  await settle();
  const [{ timestamp, ...rest }] = script.last.sent;
  assert.deepEqual(rest, { type: 'connect', clientId: 'me', version: '1' });
  assert.match(timestamp, ISO);
  assert.equal(resolved, false);
  await confirm();
  await ready;
});

test('S2-05 a new conversation can be asked for', async (t) => {
  const { script, client } = setup(t, { resume: false });
  void client.connect().catch(() => {});
  await settle();
  assert.equal(script.last.sent[0].resume, false);
});

test('S2-10 S2-11 S2-43 messages are queued while connecting and pending', async (t) => {
  const { script, client, confirm } = setup(t);
  script.opens = false;
  void client.connect();
  await settle();
  assert.equal(client.phase, 'CONNECTING');
  void client.send({ content: 'one', messageId: 'm1' }).catch(() => {});
  script.last.open();
  await settle();
  assert.equal(client.phase, 'PENDING');
  void client.send({ content: 'two', messageId: 'm2' }).catch(() => {});
  assert.deepEqual(script.last.of('message'), []);
  assert.equal(client.queued, 2);
  await confirm();
  assert.equal(client.phase, 'CONFIRMED');
  assert.deepEqual(script.last.of('message').map(({ messageId }) => messageId), ['m1', 'm2'], 'S2-44: in order');
});

test('S2-12 S2-21 the heartbeat is active only when confirmed, every 30 s', async (t) => {
  const { script, pass, client, confirm } = setup(t, { connectTimeout: 100_000 });
  void client.connect();
  await pass(40_000, 1_000);
  assert.deepEqual(script.last.of('ping'), []);
  await confirm();
  await pass(30_000, 1_000);
  const [ping] = script.last.of('ping');
  assert.match(ping.timestamp, ISO);
});

test('S2-21 without a pong in two intervals the client reconnects', async (t) => {
  const { script, pass, client, states } = await confirmed(t);
  await pass(30_000, 1_000);
  await script.last.say({ type: 'pong', timestamp: '' });
  await pass(30_500, 1_000);
  assert.equal(client.phase, 'CONFIRMED');
  await pass(30_000, 1_000);
  assert.ok(states.some(({ error }) => error === 'Heartbeat timeout'));
  await pass(1_500, 500);
  assert.equal(script.sockets.length, 2);
});

test('S2-13 S2-43 S2-45 messages sent while disconnected wait for the next confirmation', async (t) => {
  const { script, pass, client, confirm, respond } = await confirmed(t);
  await script.last.end(1006);
  assert.equal(client.phase, 'DISCONNECTED');
  const answer = client.send({ content: 'later', messageId: 'm1' });
  await pass(1_100, 100);
  await confirm();
  assert.equal(script.last.of('message').length, 1);
  await respond('m1', 'got it');
  assert.equal((await answer).content, 'got it');
});

test('S2-14 S2-15 the state object has the four fields, and connecting covers two phases', async (t) => {
  const { script, client, states, confirm } = setup(t);
  assert.deepEqual(client.state, { status: 'disconnected', clientId: null, conversationId: null, error: null });
  script.opens = false;
  void client.connect();
  await settle();
  assert.equal(client.state.status, 'connecting');
  script.last.open();
  assert.equal(client.state.status, 'connecting');
  await confirm();
  assert.deepEqual(states, [
    { status: 'connecting', clientId: 'me', conversationId: null, error: null },
    { status: 'connected', clientId: 'me', conversationId: 'c1', error: null },
  ]);
  client.close();
  assert.equal(client.state.status, 'disconnected');
});

test('S2-16 no confirmation in 10 s ends the attempt and leads to the next', async (t) => {
  const { script, pass, client, states } = setup(t);
  void client.connect().catch(() => {});
  await pass(9_900, 100);
  assert.equal(client.phase, 'PENDING');
  await pass(200, 100);
  assert.equal(client.phase, 'DISCONNECTED');
  assert.equal(states.at(-1)!.error, 'Connection timeout');
  await pass(1_000, 100);
  assert.equal(script.sockets.length, 2);
});

test('S2-30 S2-38 a message has all required fields, filled in where they are missing', async (t) => {
  const { script, client } = await confirmed(t);
  void client.send({ content: 'Hello!' }).catch(() => {});
  const [message] = script.last.of('message');
  assert.deepEqual(Object.keys(message).sort(), ['clientId', 'content', 'messageId', 'timestamp', 'type']);
  assert.equal(message.clientId, 'me');
  assert.match(message.timestamp, ISO);
  assert.ok(message.messageId.length > 8);
});

test('S2-38 without a clientId the library makes one that the server takes', async (t) => {
  const { script, client } = setup(t, { clientId: undefined });
  void client.connect().catch(() => {});
  await settle();
  assert.match(script.last.sent[0].clientId, /^[A-Za-z0-9._:-]{1,128}$/);
});

test('S2-32 what the server sends is validated and sanitized', async (t) => {
  const { script, client, respond, logs } = await confirmed(t, { maxContent: 10 });
  const answer = client.send({ content: 'x', messageId: 'm1' });
  for (const bad of ['{', 'null', '[]', { type: 'response', messageId: 'm1' }, { type: 'response', messageId: 1, content: 'x' }, { type: 'other' }, { type: 'error' }]) {
    await script.last.say(bad);
  }
  assert.equal(client.phase, 'CONFIRMED');
  assert.equal(logs.length, 7);
  await respond('m1', 'a\u0000b\u001b\n\tc<i>defghijk');
  assert.equal((await answer).content, 'ab\n\tc<i>de');
});

test('S2-41 S2-42 five attempts after 1, 2, 4, 8 and 16 s without jitter, then it gives up', async (t) => {
  const { script, pass, client, states } = setup(t);
  script.opens = false;
  const error = failure(client.connect());
  await settle();
  const waits: number[] = [];
  for (let attempt = 0; attempt < 5; attempt++) {
    await script.last.end(1006);
    const [from, count] = [Date.now(), script.sockets.length];
    while (script.sockets.length === count) await pass(100, 100);
    waits.push(Date.now() - from);
  }
  assert.deepEqual(waits, [1_000, 2_000, 4_000, 8_000, 16_000]);
  await script.last.end(1006);
  assert.equal((await error).code, 'gave_up');
  assert.equal(states.at(-1)!.error, 'Max reconnection attempts reached');
  await pass(60_000, 5_000);
  assert.equal(script.sockets.length, 6);
  void client.connect().catch(() => {});
  await settle();
  assert.equal(script.sockets.length, 7, 'connect tries again');
});

test('S2-41 the counter starts anew on confirmation, not on open', async (t) => {
  const { script, pass, confirm } = await confirmed(t);
  for (let round = 0; round < 7; round++) {
    await script.last.end(1006);
    await pass(1_000, 100);
    assert.equal(script.sockets.length, round + 2);
    await confirm();
  }
});

test('S2-42 jitter is configurable, and the server\'s hint applies and counts as no attempt', async (t) => {
  t.mock.method(Math, 'random', () => 0.5);
  const { script, pass, client } = await confirmed(t, { jitter: 1_000, maxReconnectAttempts: 1 });
  await script.last.say({ type: 'reconnect', after_ms: 4_000 });
  await script.last.end(1001);
  await pass(4_400, 100);
  assert.equal(script.sockets.length, 1);
  await pass(200, 100);
  assert.equal(script.sockets.length, 2);
  await script.last.end(1006);
  await pass(1_600, 100);
  assert.equal(script.sockets.length, 3);
  void client;
});

test('S2-43 S2-44 a message whose answer was lost is sent again under the same id', async (t) => {
  const { script, pass, client, confirm, respond } = await confirmed(t);
  const answer = client.send({ content: 'x', messageId: 'm1' });
  await script.last.end(1006);
  await pass(1_000, 100);
  await confirm();
  assert.deepEqual(script.sockets.map((socket) => socket.of('message').length), [1, 1]);
  assert.deepEqual(script.sockets[0]!.of('message'), script.sockets[1]!.of('message'));
  await respond('m1');
  await answer;
  assert.equal(client.queued, 0);
  assert.equal((await failure((client.send({ content: 'y', messageId: 'm2' }).catch(() => {}), client.send({ content: 'y', messageId: 'm2' })))).code, 'invalid');
});

test('S2-45 the queue is bounded: the oldest is refused to its caller', async (t) => {
  const { client } = setup(t, { queue: { messages: 2 } });
  const first = failure(client.send({ content: '1' }));
  void client.send({ content: '2' }).catch(() => {});
  void client.send({ content: '3' }).catch(() => {});
  assert.equal((await first).code, 'queue_full');
  assert.equal(client.queued, 2);
});

test('S2-45 the queue is bounded in size too', async (t) => {
  const { client } = setup(t, { queue: { bytes: 10 } });
  const first = failure(client.send({ content: '12345678' }));
  void client.send({ content: '123' }).catch(() => {});
  assert.equal((await first).code, 'queue_full');
  assert.equal((await failure(client.send({ content: '12345678901' }))).code, 'queue_full');
});

test('S2-45 with a storage, messages and client id outlive a reload', async (t) => {
  const store = new MemoryStore();
  const before = setup(t, { store, clientId: undefined });
  void before.client.send({ content: 'kept', messageId: 'm1' }).catch(() => {});
  void before.client.connect().catch(() => {});
  await settle();
  const { clientId } = before.script.last.sent[0];
  const copy = new MemoryStore();
  for (const [key, value] of store.values) copy.values.set(key, value); // the page is gone
  const responses: unknown[] = [];
  const script = new Script();
  const client = new WebSocketConnection(() => {}, { url: 'wss://host', webSocket: script.WebSocket, store: copy, onResponse: ({ content }) => void responses.push(content) });
  t.after(() => client.close());
  void client.connect();
  await settle();
  assert.equal(script.last.sent[0].clientId, clientId);
  await script.last.say({ type: 'connect_confirm', clientId, conversationId: 'c1', status: 'confirmed', timestamp: '' });
  assert.deepEqual(script.last.of('message').map(({ content, messageId }) => [content, messageId]), [['kept', 'm1']]);
  await script.last.say({ type: 'response', messageId: 'm1', content: 'answer', timestamp: '' });
  assert.deepEqual([responses, client.queued], [['answer'], 0]);
});

test('S2-46 no response in 30 s: once more after a reconnect, with the same id, then the promise fails', async (t) => {
  const { script, pass, client, confirm } = await confirmed(t);
  const error = failure(client.send({ content: 'x', messageId: 'm1' }));
  await pass(29_000, 1_000);
  await script.last.say({ type: 'pong', timestamp: '' });
  assert.equal(script.sockets.length, 1);
  await pass(3_000, 500);
  assert.equal(script.sockets.length, 2);
  await confirm();
  assert.deepEqual(script.last.of('message').map(({ messageId }) => messageId), ['m1']);
  await pass(30_500, 500);
  assert.equal((await error).code, 'timeout');
  assert.equal(script.sockets.length, 2);
});

test('S2-48 a message over the rate is sent again a second later', async (t) => {
  const { script, pass, client, respond } = await confirmed(t);
  const answer = client.send({ content: 'x', messageId: 'm1' });
  await script.last.say({ type: 'error', error: 'Rate limit exceeded', messageId: 'm1', timestamp: '' });
  await pass(1_100, 100);
  assert.equal(script.last.of('message').length, 2);
  await respond('m1');
  await answer;
});

test('S2-36 S2-40 an error that names a message fails it, any error is told in the state', async (t) => {
  const { script, client, states } = await confirmed(t);
  const error = failure(client.send({ content: 'x', messageId: 'm1' }));
  await script.last.say({ type: 'error', error: 'No responder', messageId: 'm1', timestamp: '' });
  assert.equal((await error).message, 'No responder');
  assert.deepEqual(states.at(-1), { status: 'connected', clientId: 'me', conversationId: 'c1', error: 'No responder' });
});

test('S2-51 problems are logged and told, and cleared on confirmation; each change calls back', async (t) => {
  const { script, pass, states, logs, confirm } = await confirmed(t);
  await script.last.end(1011, 'server trouble');
  assert.deepEqual(states.at(-1), { status: 'disconnected', clientId: 'me', conversationId: 'c1', error: 'server trouble' });
  assert.ok(logs.some((text) => text.includes('server trouble')));
  await pass(1_000, 100);
  await confirm();
  assert.equal(states.at(-1)!.error, null);
  for (let at = 1; at < states.length; at++) assert.notDeepEqual(states[at], states[at - 1]);
});

test('S2-37 responses that were missed are handed over in order', async (t) => {
  const seen: string[] = [];
  const { respond } = await confirmed(t, { onResponse: ({ content }) => void seen.push(content) });
  await respond('old-1', 'a');
  await respond('old-2', 'b');
  assert.deepEqual(seen, ['a', 'b']);
});

for (const code of [1000, 1008, 4400]) {
  test(`close ${code} is final: connect fails, nothing is tried again`, async (t) => {
    const { script, pass, client } = setup(t);
    const error = failure(client.connect());
    await settle();
    await script.last.end(code, 'unsupported version');
    assert.equal((await error).code, 'closed');
    await pass(60_000, 5_000);
    assert.equal(script.sockets.length, 1);
  });
}

test('close ends with 1000, fails what waits and leaves no timer', async (t) => {
  const { script, pass, client } = await confirmed(t);
  const error = failure(client.send({ content: 'x' }));
  client.close();
  assert.deepEqual(script.last.closed, { code: 1000, reason: 'Client disconnect' });
  assert.equal((await error).code, 'closed');
  await pass(120_000, 10_000);
  assert.equal(script.sockets.length, 1);
});
