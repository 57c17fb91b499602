import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Sparkway } from 'sparkway';
import { FakeServer } from 'sparkway/testing';
import { Cursor } from '../dist/cursor.js';
import { delayOf, nextAfter } from '../dist/backoff.js';
import { back, failure, fakeTime, online, rig, settle, until } from './util.js';

test('connects, says who it is and reports its status', async (t) => {
  const made = await online(t, { token: 'alice' }, { authorize: (token) => token });
  const { state, node, user, sessionId, attempt } = made.client.status;
  assert.deepEqual([state, user, attempt], ['online', 'alice', 0]);
  assert.match(node!, /^node-\d$/);
  assert.ok(made.server.sessions.has(sessionId!));
  assert.deepEqual(made.states, ['connecting', 'online']);
  assert.ok(Object.isFrozen(made.client.status));
  assert.equal(made.client.status, made.client.status);
});

test('resumes the same session on the next node after a cut', async (t) => {
  const made = await online(t);
  const { sessionId, node } = made.client.status;
  assert.equal(await back(made), true);
  assert.equal(made.client.status.sessionId, sessionId);
  assert.notEqual(made.client.status.node, node);
  assert.deepEqual(made.losses, []);
});

test('acknowledges every control frame, so that a rotated token becomes the only one', async (t) => {
  const made = await online(t);
  await back(made);
  await until(() => made.frames('ws:ack').some(({ data }) => data.ackId === 'c1'));
  const [session] = made.server.sessions.values();
  assert.equal(session!.tokens.length, 1);
  const [token] = session!.tokens;
  assert.equal(await back(made), true);
  assert.equal(made.frames('ws:resume').at(-1).data.heartbeat_token, token);
});

test('a resume names one id as a string and several partitions as an array', () => {
  const cursor = new Cursor();
  assert.equal(cursor.wire(), '0');
  cursor.see(163);
  assert.equal(cursor.wire(), '163');
  cursor.see(147);
  assert.equal(cursor.wire(), '163', 'an older id of the same partition changes nothing');
  cursor.see(9007199254740990);
  assert.deepEqual(cursor.wire(), ['163', '9007199254740990']);
  cursor.reset(['32', '33']);
  assert.deepEqual(cursor.wire(), ['32', '33']);
  cursor.reset('48');
  assert.equal(cursor.wire(), '48');
});

test('a partition number is exact for the largest id', () => {
  const cursor = new Cursor();
  cursor.see(9007199254740991);
  cursor.see(9007199254740975);
  assert.equal(cursor.wire(), '9007199254740991');
});

test('the resume carries the newest id of every partition', async (t) => {
  const made = await online(t, {}, { partitions: 16 });
  const names = Array.from({ length: 12 }, (_, at) => `room:${at}`);
  for (const name of names) made.client.topic(name);
  await until(() => made.server.sessions.values().next().value!.topics.size === 12);
  const ids = names.map((name) => made.server.publish(name, name));
  await until(() => made.messages.length === 12);
  await back(made);
  const named: string[] = made.frames('ws:resume')[0].data.last_message_id;
  const newest = new Map(ids.map((id) => [Number(id) % 16, id]));
  assert.ok(newest.size > 1);
  for (const id of newest.values()) assert.ok(named.includes(id), id);
});

test('heartbeats go out at the interval with the newest token, and adopt what the answer changes', async (t) => {
  const pass = fakeTime(t);
  const made = rig(t, {}, { heartbeatInterval: 10_000 });
  made.client.connect();
  await pass(10_000, 500);
  assert.ok(made.frames('ws:heartbeat').length >= 1, 'the first one comes within the interval');
  await pass(30_000, 500);
  const before = made.frames('ws:heartbeat').length;
  assert.ok(before >= 3 && before <= 5, String(before));
  made.server.change({ token: true, interval: 40_000 });
  await pass(10_000, 500);
  const changed = made.frames('ws:heartbeat').length;
  await pass(40_000, 500);
  assert.equal(made.frames('ws:heartbeat').length, changed + 1, 'the new interval holds');
  const [session] = made.server.sessions.values();
  assert.equal(made.frames('ws:heartbeat').at(-1).data.heartbeat_token, session!.tokens.at(-1));
  assert.ok(made.frames('ws:ack').some(({ data }) => data.ackId === 'c1'));
});

test('a link without any sign of life is given up and resumed', async (t) => {
  const pass = fakeTime(t);
  const made = rig(t, { timeouts: { ack: 4_000 } }, { heartbeatInterval: 10_000 });
  made.client.connect();
  await pass(10);
  made.server.frozen = true;
  await pass(15_000, 500);
  assert.equal(made.client.status.state, 'reconnecting');
  made.server.frozen = false;
  await pass(15_000, 500);
  assert.equal(made.client.status.state, 'online');
  assert.equal(made.server.sessions.size, 1);
});

test('a publish without an answer finds a dead link sooner than the heartbeat', async (t) => {
  const pass = fakeTime(t);
  const made = rig(t, { timeouts: { ack: 1_000, connect: 1_000 } });
  made.client.connect();
  await pass(10);
  made.server.frozen = true;
  const answer = made.client.publish('room', 1);
  await pass(1_700);
  assert.notEqual(made.client.status.state, 'online');
  made.server.frozen = false;
  await pass(3_000);
  assert.equal((await answer).duplicate, false);
});

test('the close table decides: stop, come back with backoff, come back at once', () => {
  for (const code of [1000, 1002, 1003, 1007, 1008, 1009, 4000, 4007, 4009, 4010, 4011, 4099]) assert.equal(nextAfter(code), 'stop', String(code));
  for (const code of [1001, 1012, 4200, 4299]) assert.equal(nextAfter(code), 'resume', String(code));
  for (const code of [1005, 1006, 1011, 1013, 4100, 4101, 4199, 4300, 3000, 4999]) assert.equal(nextAfter(code), 'backoff', String(code));
});

test('delays double up to the maximum, with full jitter', (t) => {
  t.mock.method(Math, 'random', () => 0.999999);
  const most = [1, 2, 3, 6, 7, 50].map((attempt) => Math.round(delayOf(attempt, {})));
  assert.deepEqual(most, [500, 1_000, 2_000, 16_000, 20_000, 20_000]);
  t.mock.method(Math, 'random', () => 0);
  assert.equal(delayOf(3, {}), 0);
  assert.equal(delayOf(3, { jitter: 'none' }), 2_000);
});

for (const code of [1008, 4009, 4011]) {
  test(`close ${code} stops the client and fails what waits`, async (t) => {
    const made = await online(t);
    made.server.intercept = ({ type }) => type === 'topic:publish';
    const waiting = failure(made.client.publish('room', 1));
    await settle();
    made.server.close(code, code === 4009 ? 'superseded' : '');
    const error = await waiting;
    assert.equal(made.client.status.state, 'closed');
    assert.equal(made.client.status.lastClose!.code, code);
    assert.equal(made.client.status.error, error);
    assert.equal(error.code, code === 4009 ? 'superseded' : 'closed');
    assert.equal(await failure(made.client.ready()), error);
    made.client.connect();
    await made.client.ready();
  });
}

test('after a close with 1011 the next attempt waits longer each time, and not for ever', async (t) => {
  const pass = fakeTime(t);
  t.mock.method(Math, 'random', () => 0.5);
  const made = rig(t, { reconnect: { min: 1_000, max: 4_000, attempts: 4 } });
  made.server.down = true;
  made.client.connect();
  const waits: number[] = [];
  made.client.on('status', ({ nextRetryAt }) => nextRetryAt && waits.push(nextRetryAt - Date.now()));
  await pass(20_000);
  assert.deepEqual(waits, [500, 1_000, 2_000, 2_000]);
  assert.equal(made.client.status.error!.code, 'gave_up');
});

test('a steady link comes back within 250 ms', async (t) => {
  const pass = fakeTime(t);
  t.mock.method(Math, 'random', () => 0.99);
  const made = rig(t, { reconnect: {} });
  made.client.connect();
  await pass(6_000, 500);
  made.server.cut();
  await pass(10);
  assert.ok(made.client.status.nextRetryAt! - Date.now() <= 250);
  await pass(300);
  assert.equal(made.client.status.state, 'online');
});

test('a link that breaks at once again and again is not hammered', async (t) => {
  const pass = fakeTime(t);
  const made = rig(t, { reconnect: { jitter: 'none' } });
  made.client.on('status', ({ state }) => state === 'online' && queueMicrotask(() => made.server.cut()));
  made.client.connect();
  await pass(30_000);
  const attempts = made.frames('ws:resume').length;
  assert.ok(attempts >= 10 && attempts <= 20, String(attempts));
});

test('retry_after of the server is kept', async (t) => {
  const pass = fakeTime(t);
  const made = rig(t);
  made.client.connect();
  await pass(10);
  for (const seat of made.server.seats) seat.send({ type: 'ws:close', data: { code: 1013, reason: 'Try again later', resume: true, retry_after: 5_000 } });
  await pass(5);
  made.server.close(1013, 'Try again later');
  await pass(4_900);
  assert.equal(made.client.status.state, 'reconnecting');
  await pass(500);
  assert.equal(made.client.status.state, 'online');
});

test('a drain moves the session to another node after the given delay, before the node closes', async (t) => {
  const pass = fakeTime(t);
  const made = rig(t);
  made.client.connect();
  await pass(10);
  const { node, sessionId } = made.client.status;
  made.server.drain(Number(node!.at(-1)), 3_000);
  await pass(2_900);
  assert.equal(made.client.status.node, node);
  await pass(600);
  assert.notEqual(made.client.status.node, node);
  assert.equal(made.client.status.sessionId, sessionId);
  assert.equal(made.client.status.lastClose!.code, 1012);
});

test('a draining node that closes early is not asked again before the delay', async (t) => {
  const pass = fakeTime(t);
  const made = rig(t);
  made.client.connect();
  await pass(10);
  made.server.drain(Number(made.client.status.node!.at(-1)), 3_000);
  await pass(5);
  made.server.close(1012, 'Service restart');
  await pass(2_500);
  assert.equal(made.client.status.state, 'reconnecting');
  await pass(1_000);
  assert.equal(made.client.status.state, 'online');
});

test('a store that cannot answer a resume is asked again, and the session kept', async (t) => {
  const made = await online(t);
  let refusals = 3;
  made.server.intercept = ({ type }, seat) => {
    if (type !== 'ws:resume' || refusals-- <= 0) return false;
    seat.send({ type: 'ws:resume_failed', data: { reason: 'unavailable' } });
    return true;
  };
  assert.equal(await back(made), true);
  assert.equal(made.server.sessions.size, 1);
});

test('an expired session becomes a new one on the same socket', async (t) => {
  const made = await online(t);
  const { sessionId } = made.client.status;
  const recovered = await back(made, () => made.server.expire());
  assert.equal(recovered, false);
  assert.notEqual(made.client.status.sessionId, sessionId);
  assert.equal(made.server.seats.length, 1);
});

test('4200 session_lost leads to a new session without asking for the old one', async (t) => {
  const made = await online(t);
  assert.equal(await back(made, () => made.server.close(4200, 'session_lost')), false);
  assert.equal(made.frames('ws:resume').length, 0);
});

test('an own attempt that arrives late and takes the session over does not end the client', async (t) => {
  const made = await online(t, { timeouts: { connect: 30 } });
  const { sessionId } = made.client.status;
  let stray: (() => void) | undefined;
  made.server.intercept = (frame) => {
    if (frame.type !== 'ws:resume' || stray) return false;
    // The socket is long given up by the client when the frame takes effect.
    stray = () => made.server.close(4009, 'superseded');
    return true;
  };
  await back(made);
  await back(made, stray!);
  assert.equal(made.client.status.state, 'online');
  assert.equal(made.client.status.sessionId, sessionId);
});

test('disconnect keeps the session, close ends it and leaves no timer', async (t) => {
  const made = await online(t);
  const { sessionId } = made.client.status;
  made.client.disconnect();
  await settle();
  assert.equal(made.client.status.state, 'idle');
  assert.equal(made.server.sessions.size, 1);
  assert.equal(made.frames('ws:close')[0].data.resume, true);
  made.client.connect();
  await made.client.ready();
  assert.equal(made.client.status.sessionId, sessionId);
  await made.client.close();
  await settle();
  assert.equal(made.server.sessions.size, 0);
  assert.throws(() => made.client.connect(), { code: 'closed' });
  assert.throws(() => made.client.topic('room'), { code: 'closed' });
  assert.equal((await failure(made.client.publish('room', 1))).code, 'closed');
});

test('no timer is left after close, whatever went before', async (t) => {
  const set = t.mock.method(globalThis, 'setTimeout');
  const cleared = t.mock.method(globalThis, 'clearTimeout');
  const server = new FakeServer();
  const client = new Sparkway(server.urls, { webSocket: server.WebSocket, reconnect: { min: 1, max: 2 }, session: { persist: 'none' } });
  client.connect();
  await client.ready();
  const topic = client.topic('room');
  await client.publish('room', 1);
  await until(() => topic.position !== '0');
  topic.leave();
  server.cut();
  await until(() => client.status.state === 'online' && client.status.lastClose);
  void client.publish('room', 2).catch(() => {});
  void client.request('nothing').catch(() => {});
  await client.close();
  const off = new Set(cleared.mock.calls.map(({ arguments: [timer] }) => timer));
  const left = set.mock.calls.filter(({ result }) => !off.has(result as never) && !(result as any)._destroyed);
  assert.deepEqual(left.map(({ arguments: [fn] }) => String(fn)), []);
});

test('ready can be given up', async (t) => {
  const made = rig(t);
  const stop = new AbortController();
  const waiting = failure(made.client.ready({ signal: stop.signal }));
  stop.abort();
  assert.equal((await waiting).name, 'AbortError');
});

test('a frame that cannot be read ends the link, not the client', async (t) => {
  const made = await online(t);
  const [seat] = made.server.seats;
  const codec = Object.values(seat!).find((value: any) => value?.protocol) as any;
  const key = Object.keys(seat!).find((name) => (seat as any)[name] === codec)!;
  (seat as any)[key] = { ...codec, encode: () => '{"type":' };
  assert.equal(await back(made, () => seat!.send({ type: 'ws:ping' })), true);
  assert.equal(made.errors[0]!.code, 'malformed');
});

test('without a WebSocket class the client says so and goes on trying', async (t) => {
  const client = new Sparkway('ws://nowhere', { reconnect: { min: 1, max: 1, attempts: 2 } });
  t.after(() => client.close());
  const before = globalThis.WebSocket;
  (globalThis as any).WebSocket = undefined;
  t.after(() => ((globalThis as any).WebSocket = before));
  client.connect();
  assert.equal((await failure(client.ready())).code, 'gave_up');
  assert.match(client.status.lastClose!.reason, /webSocket/);
});

test('a server ping is answered', async (t) => {
  const made = await online(t);
  made.server.seats[0]!.send({ type: 'ws:ping', id: 'c9' });
  await until(() => made.frames('ws:ack').some(({ data }) => data.ackId === 'c9'));
});
