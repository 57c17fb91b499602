import assert from 'node:assert/strict';
import { test } from 'node:test';
import { back, failure, fakeTime, online, rig, settle, texts, until } from './util.js';

const stored = (made: { server: { logs: { of(topic: string): { data: unknown }[] } } }, topic = 'room') =>
  made.server.logs.of(topic).map(({ data }) => data);

test('a publish resolves with the id of the stored message', async (t) => {
  const made = await online(t);
  const { id, duplicate } = await made.client.publish('room', { text: 'hi' });
  assert.equal(duplicate, false);
  assert.equal(made.server.logs.of('room')[0]!.id, id);
});

test('publishes made before there is a connection are sent in order', async (t) => {
  const made = rig(t);
  const answers = Array.from({ length: 50 }, (_, at) => made.client.publish('room', at));
  assert.equal(made.client.queued, 50);
  assert.equal(made.client.status.pending, true);
  made.client.connect();
  await Promise.all(answers);
  assert.deepEqual(stored(made), Array.from({ length: 50 }, (_, at) => at));
  assert.equal(made.client.status.pending, false);
});

test('a lost answer leads to a repeat under the same id, stored once, resolved once', async (t) => {
  const made = await online(t);
  made.server.intercept = ({ type }, seat) => {
    if (type === 'topic:publish') seat.send = () => {}; // stored, and the answer lost
  };
  let resolved = 0;
  const answer = made.client.publish('room', 'once').then((published) => (resolved++, published));
  await until(() => stored(made).length === 1);
  made.server.intercept = undefined;
  await back(made);
  assert.deepEqual([(await answer).duplicate, (await answer).id], [true, made.server.logs.of('room')[0]!.id]);
  await back(made);
  await settle();
  assert.deepEqual([stored(made), resolved], [['once'], 1]);
  const ids = made.frames('topic:publish').map(({ id }) => id);
  assert.equal(new Set(ids).size, 1);
});

test('the same id twice is the same publish', async (t) => {
  const made = rig(t);
  const first = made.client.publish('room', 'a', { id: 'mine' });
  const second = made.client.publish('room', 'a', { id: 'mine' });
  made.client.connect();
  assert.deepEqual(await first, await second);
  assert.deepEqual(stored(made), ['a']);
});

test('order holds within a topic when the server refuses one for now', async (t) => {
  const made = await online(t);
  const refusals = new Map<string, number>();
  made.server.intercept = (frame, seat) => {
    if (frame.type !== 'topic:publish') return false;
    const times = refusals.get(frame.id!) ?? 0;
    refusals.set(frame.id!, times + 1);
    if ((frame.data as number) % 3 !== 0 || times >= 2) return false;
    seat.refuse(frame, times ? 'unavailable' : 'rate_limited', true, 2);
    return true;
  };
  await Promise.all(Array.from({ length: 20 }, (_, at) => made.client.publish('room', at)));
  assert.deepEqual(stored(made), Array.from({ length: 20 }, (_, at) => at));
});

test('topics do not wait for each other', async (t) => {
  const made = await online(t);
  made.server.intercept = ({ type, topic }) => type === 'topic:publish' && topic === 'slow';
  void made.client.publish('slow', 1).catch(() => {});
  await made.client.publish('quick', 1);
});

test('a refusal for good rejects with the code of the server', async (t) => {
  const made = await online(t);
  made.server.intercept = (frame, seat) => {
    if (frame.type !== 'topic:publish') return false;
    seat.refuse(frame, 'forbidden');
    return true;
  };
  const error = await failure(made.client.publish('room', 1));
  assert.deepEqual([error.name, error.code, error.retryable], ['SparkwayError', 'forbidden', false]);
});

test('the queue is bounded in messages and in bytes', async (t) => {
  const made = rig(t, { queue: { messages: 2 } });
  const kept = [made.client.publish('room', 1), made.client.publish('room', 2)];
  assert.equal((await failure(made.client.publish('room', 3))).code, 'queue_full');
  made.client.connect();
  await Promise.all(kept);
  const small = rig(t, { queue: { bytes: 100 } });
  assert.equal((await failure(small.client.publish('room', 'x'.repeat(100)))).code, 'queue_full');
});

test('drop_oldest makes room, but never drops what may be stored already', async (t) => {
  const made = rig(t, { queue: { messages: 2, overflow: 'drop_oldest' } });
  const first = failure(made.client.publish('room', 1));
  const rest = [made.client.publish('room', 2), made.client.publish('room', 3)];
  assert.equal((await first).code, 'queue_full');
  made.client.connect();
  await Promise.all(rest);
  made.server.intercept = ({ type }) => type === 'topic:publish';
  const sent = [made.client.publish('a', 4), made.client.publish('b', 5)];
  await until(() => made.frames('topic:publish').length === 4);
  assert.equal((await failure(made.client.publish('c', 6))).code, 'queue_full');
  made.server.intercept = undefined;
  made.server.cut();
  await Promise.all(sent);
});

test('a publish that waits too long fails', async (t) => {
  const pass = fakeTime(t);
  const made = rig(t, { queue: { age: 5_000 } });
  const error = failure(made.client.publish('room', 1));
  const own = failure(made.client.publish('room', 1, { timeout: 1_000 }));
  await pass(1_100);
  assert.equal((await own).code, 'timeout');
  assert.equal(made.client.queued, 1);
  await pass(4_000);
  assert.equal((await error).code, 'timeout');
});

test('a publish can be given up, before and while it waits', async (t) => {
  const made = rig(t);
  assert.equal((await failure(made.client.publish('room', 1, { signal: AbortSignal.abort() }))).name, 'AbortError');
  const stop = new AbortController();
  const error = failure(made.client.publish('room', 2, { signal: stop.signal }));
  await settle();
  stop.abort(0);
  assert.equal(await error, 0, 'whatever the reason is, it is the rejection');
  made.client.connect();
  await made.client.ready();
  await made.client.publish('room', 3);
  assert.deepEqual(stored(made), [3]);
});

test('a volatile publish is now or never', async (t) => {
  const made = rig(t);
  assert.equal((await failure(made.client.publish('room', 1, { volatile: true }))).code, 'offline');
  made.client.connect();
  await made.client.ready();
  made.server.intercept = ({ type }) => type === 'topic:publish';
  const lost = failure(made.client.publish('room', 2, { volatile: true }));
  await until(() => made.frames('topic:publish').length === 1);
  await back(made);
  assert.equal((await lost).code, 'disconnected');
  assert.equal(made.frames('topic:publish').length, 1);
});

test('an ephemeral publish reaches who listens and is not stored', async (t) => {
  const made = await online(t);
  const topic = made.client.topic('room');
  await until(() => topic.state === 'live');
  const published = await topic.publish('typing', { ephemeral: true });
  assert.equal(published.id, undefined);
  await until(() => made.messages.length === 1);
  assert.deepEqual([made.messages[0]!.id, stored(made)], [undefined, []]);
});

test('options reach the wire under the names of the protocol', async (t) => {
  const made = await online(t);
  await made.client.publish('room', 1, { id: 'own', durability: 'replicated', excludeSelf: true });
  const [frame] = made.frames('topic:publish');
  assert.deepEqual(frame, { type: 'topic:publish', id: 'own', topic: 'room', data: 1, durability: 'replicated', exclude_self: true });
  await made.client.publish('room', undefined);
  assert.equal(made.frames('topic:publish')[1].data, null);
});

test('what is too large for the node fails before it is sent', async (t) => {
  const made = await online(t, {}, { maxMessageBytes: 1_000 });
  const error = await failure(made.client.publish('room', '\u20ac'.repeat(400)));
  assert.equal(error.code, 'too_large');
  await made.client.publish('room', 'x'.repeat(500));
  assert.equal(made.frames('topic:publish').length, 1);
});

test('data is taken as it was when publish was called', async (t) => {
  const made = rig(t);
  const data = { text: 'before' };
  const answer = made.client.publish('room', data);
  data.text = 'after';
  made.client.connect();
  await answer;
  assert.deepEqual(stored(made), [{ text: 'before' }]);
});

test('when the session is lost, what may be stored is not sent again, and the rest is', async (t) => {
  const made = await online(t);
  made.server.intercept = ({ type }) => type === 'topic:publish';
  const sent = failure(made.client.publish('room', 'maybe'));
  await until(() => made.frames('topic:publish').length === 1);
  const waiting = made.client.publish('room', 'later');
  made.server.intercept = undefined;
  await back(made, () => made.server.expire());
  assert.equal((await sent).code, 'session_lost');
  await waiting;
  assert.deepEqual(stored(made), ['later']);
});

test('a subscription made before a publish sees it', async (t) => {
  const made = await online(t);
  const topic = made.client.topic('room');
  await topic.publish('own');
  await until(() => made.messages.length === 1);
  assert.deepEqual(texts(made.messages), ['own']);
});

test('a publish made before a subscription in the same turn is seen by it too', async (t) => {
  const made = await online(t);
  void made.client.publish('room', 'own');
  made.client.topic('room');
  await until(() => made.messages.length === 1);
});

test('requests reach the backend, fail with its code, and are not repeated', async (t) => {
  const made = await online(t, {}, { rpc: (method, params) => (method === 'add' ? params.a + params.b : undefined) });
  assert.equal(await made.client.request('add', { a: 1, b: 2 }), 3);
  assert.equal((await failure(made.client.request('other'))).code, 'not_found');
  made.server.intercept = ({ type }) => type === 'rpc:call';
  const lost = failure(made.client.request('add', { a: 1, b: 2 }));
  await until(() => made.frames('rpc:call').length === 3);
  made.server.intercept = undefined;
  await back(made);
  assert.equal((await lost).code, 'disconnected');
  assert.equal(made.frames('rpc:call').length, 3);
});

test('a request waits for the connection, ends at its timeout and with its signal', async (t) => {
  const made = rig(t, {}, { rpc: () => 'pong' });
  assert.equal((await failure(made.client.request('ping', 0, { timeout: 5 }))).code, 'timeout');
  assert.equal((await failure(made.client.request('ping', 0, { signal: AbortSignal.abort() }))).name, 'AbortError');
  const answer = made.client.request('ping');
  made.client.connect();
  assert.equal(await answer, 'pong');
  assert.equal(made.frames('rpc:call').length, 1);
});

test('history is asked again when its answer is lost', async (t) => {
  const made = await online(t);
  for (const text of ['a', 'b', 'c']) made.server.publish('room', text);
  made.server.intercept = ({ type }) => type === 'topic:history';
  const page = made.client.history('room', { limit: 2 });
  await until(() => made.frames('topic:history').length === 1);
  made.server.intercept = undefined;
  await back(made);
  const { messages, complete } = await page;
  assert.deepEqual([texts(messages), complete], [['a', 'b'], false]);
  const rest = await made.client.topic('room').history({ after: messages[1]!.id, reverse: true });
  assert.deepEqual([texts(rest.messages), rest.complete], [['c'], true]);
});

test('a listener that throws is reported and disturbs nobody', async (t) => {
  const reports: unknown[] = [];
  const made = await online(t, { logger: { error: (...parts) => reports.push(parts) } });
  made.client.on('message', () => {
    throw new Error('mine');
  });
  made.client.topic('room').on('message', () => {
    throw new Error('mine too');
  });
  await made.client.publish('room', 1);
  await until(() => reports.length === 2);
  assert.deepEqual([made.messages.length, made.client.status.state], [1, 'online']);
});
