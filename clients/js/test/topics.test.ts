import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Message, Topic } from 'sparkway';
import { back, failure, fakeTime, online, rig, settle, texts, until, type Rig } from './util.js';

async function live(made: Rig, name = 'room', options = {}): Promise<Topic> {
  const topic = made.client.topic(name, options);
  await until(() => topic.state === 'live');
  return topic;
}

test('a topic goes from pending to live, through recovering, to ended', async (t) => {
  const made = await online(t);
  const topic = made.client.topic('room');
  const states = [topic.state as string];
  topic.on('state', (state) => states.push(state));
  await until(() => topic.state === 'live');
  await back(made);
  await until(() => topic.state === 'live');
  await made.client.close();
  assert.deepEqual(states, ['pending', 'live', 'recovering', 'live', 'ended']);
});

test('messages missed during a cut come in order, once, marked as replayed', async (t) => {
  const made = await online(t, {}, { partitions: 4 });
  for (const name of ['a', 'b', 'c', 'd']) await live(made, name);
  const publish = (from: number) => {
    for (let at = from; at < from + 20; at++) made.server.publish('abcd'[at % 4]!, at);
  };
  publish(0);
  await until(() => made.messages.length === 20);
  await back(made, () => {
    made.server.cut();
    publish(20);
  });
  publish(40);
  await until(() => made.messages.length === 60);
  await settle();
  assert.equal(made.messages.length, 60);
  for (const name of ['a', 'b', 'c', 'd']) {
    const seen = made.messages.filter(({ topic }) => topic === name);
    assert.deepEqual(texts(seen), texts(seen).sort((a: any, b: any) => a - b));
  }
  assert.deepEqual(made.messages.filter(({ replayed }) => replayed).map(({ data }) => data).sort((a, b) => a - b), Array.from({ length: 20 }, (_, at) => at + 20));
  assert.deepEqual(made.losses, []);
});

test('a message that comes twice is delivered once', async (t) => {
  const made = await online(t);
  await live(made);
  made.server.publish('room', 1);
  await until(() => made.messages.length === 1);
  const { id, topic, data } = made.messages[0]!;
  made.server.seats[0]!.send({ type: 'topic:message', id, topic, data, ts: 0 });
  await settle();
  assert.equal(made.messages.length, 1);
});

test('acks name the newest message of each partition, once, not each message', async (t) => {
  const pass = fakeTime(t);
  const made = rig(t);
  made.client.connect();
  made.client.topic('room');
  await pass(10);
  const ids = Array.from({ length: 10 }, (_, at) => made.server.publish('room', at));
  await pass(1_100);
  assert.deepEqual(made.frames('ws:ack').map(({ data }) => data.ackId), [ids.at(-1)]);
  for (let at = 0; at < 256; at++) ids.push(made.server.publish('room', at));
  await settle();
  assert.equal(made.frames('ws:ack').at(-1).data.ackId, ids.at(-1), 'many messages are acked before the time');
  await pass(3_000);
  assert.equal(made.frames('ws:ack').length, 2);
});

test('a gap reported by a resume is a loss, exactly once', async (t) => {
  const made = await online(t);
  const topic = await live(made);
  const losses: unknown[] = [];
  topic.on('loss', (loss) => losses.push(loss));
  made.server.publish('room', 0);
  await until(() => made.messages.length === 1);
  const { id } = made.messages[0]!;
  let first = '';
  await back(made, () => {
    made.server.cut();
    for (let at = 1; at <= 5; at++) first = made.server.publish('room', at);
    made.server.logs.trim('room', 1);
  });
  await until(() => made.messages.length === 2);
  const expected = { topic: 'room', reason: 'trimmed', after: id, before: first };
  assert.deepEqual([made.losses, losses], [[expected], [expected]]);
  await back(made);
  assert.equal(made.losses.length, 1);
});

test('the same gap told again is no news', async (t) => {
  const made = await online(t);
  await live(made);
  made.server.publish('room', 0);
  await until(() => made.messages.length === 1);
  await back(made, () => {
    made.server.cut();
    made.server.publish('room', 1);
    made.server.logs.trim('room', 0);
  });
  await back(made);
  await back(made);
  assert.equal(made.frames('ws:resume').length, 3);
  assert.equal(made.losses.length, 1);
});

test('a live gap is a loss', async (t) => {
  const made = await online(t);
  await live(made);
  made.server.gap({ topic: 'room', reason: 'expired', after: '16', before: '64' });
  await until(() => made.losses.length === 1);
  assert.deepEqual(made.losses, [{ topic: 'room', reason: 'expired', after: '16', before: '64' }]);
});

test('after the store was rewound the topic is not mute', async (t) => {
  const made = await online(t);
  const topic = await live(made);
  for (const at of [0, 1, 2]) made.server.publish('room', at);
  await until(() => made.messages.length === 3);
  const kept = made.messages[0]!.id!;
  await back(made, () => {
    made.server.cut();
    made.server.logs.rewind('room', 1);
  });
  assert.deepEqual(made.losses.map(({ reason }) => reason), ['rewound']);
  assert.equal(topic.position, kept);
  made.server.publish('room', 3);
  await until(() => made.messages.length === 4);
});

test('a lost session continues each topic after the last id, without a loss when nothing is gone', async (t) => {
  const made = await online(t);
  await live(made, 'a');
  await live(made, 'quiet');
  made.server.publish('a', 0);
  await until(() => made.messages.length === 1);
  assert.equal(await back(made, () => {
    made.server.expire();
    made.server.publish('a', 1);
    made.server.publish('quiet', 2);
  }), false);
  await until(() => made.messages.length === 3);
  assert.deepEqual([texts(made.messages).sort(), made.losses], [[0, 1, 2], []]);
  assert.ok(made.messages[1]!.replayed);
});

test('a lost session whose log no longer reaches back is a loss', async (t) => {
  const made = await online(t);
  const topic = await live(made);
  made.server.publish('room', 0);
  await until(() => made.messages.length === 1);
  await back(made, () => {
    made.server.expire();
    made.server.publish('room', 1);
    made.server.publish('room', 2);
    made.server.logs.trim('room', 1);
  });
  await until(() => made.messages.length === 2);
  assert.deepEqual(made.losses, [{ topic: 'room', reason: 'session_lost', after: made.messages[0]!.id }]);
  await until(() => topic.state === 'live');
  await back(made);
  assert.equal(made.losses.length, 1);
});

for (const replayFirst of [false, true]) {
  const order = replayFirst ? 'before' : 'after';
  test(`since an id: the log comes first, ${order} the answer`, async (t) => {
    const made = await online(t, {}, { replayFirst });
    const ids = [0, 1, 2].map((at) => made.server.publish('room', at));
    const topic = await live(made, 'room', { since: ids[0] });
    made.server.publish('room', 3);
    await until(() => made.messages.length === 3);
    assert.deepEqual(made.messages.map(({ data, replayed }) => [data, replayed]), [[1, true], [2, true], [3, false]]);
    assert.equal(topic.position, made.messages[2]!.id);
  });
}

test('a catch-up that is cut off goes on where it stopped, in order and without a hole', async (t) => {
  const made = await online(t);
  await live(made, 'other');
  const ids = Array.from({ length: 10 }, (_, at) => made.server.publish('room', at));
  made.server.publish('other', 'newer than the log of room');
  await until(() => made.messages.length === 1);
  // The link breaks after four of the ten.
  const [seat] = made.server.seats;
  const { send } = seat!;
  let left = 4;
  seat!.send = (frame) => {
    if (frame.type === 'topic:message' && left-- <= 0) return;
    send.call(seat, frame);
  };
  const topic = made.client.topic('room', { since: '0' });
  await until(() => topic.position === ids[3]);
  await until(() => topic.state === 'live');
  await back(made, () => {
    made.server.cut();
    made.server.publish('room', 10); // the resumed session sends it before the rest of the catch-up
  });
  await until(() => made.messages.length === 12);
  assert.deepEqual(texts(made.messages.slice(1)), Array.from({ length: 11 }, (_, at) => at));
  assert.deepEqual(made.losses, []);
});

test('a subscription whose answer is lost is asked for again', async (t) => {
  const made = await online(t);
  made.server.intercept = ({ type }) => type === 'topic:subscribe';
  const topic = made.client.topic('room');
  await until(() => made.frames('topic:subscribe').length === 1);
  made.server.intercept = undefined;
  await back(made);
  await until(() => topic.state === 'live');
});

test('rewind brings the newest n, a Date what came after it, saved what came after the position', async (t) => {
  const store = { values: new Map<string, string>(), getItem: (key: string) => store.values.get(key) ?? null, setItem: (key: string, value: string) => void store.values.set(key, value), removeItem: (key: string) => void store.values.delete(key) };
  const made = await online(t, { session: { persist: store } });
  for (const at of [0, 1, 2, 3]) made.server.publish('room', at);
  await live(made, 'room', { since: { rewind: 2 } });
  await until(() => made.messages.length === 2);
  assert.deepEqual(texts(made.messages), [2, 3]);
  const second = await online(t, {}, made.server);
  await live(second, 'room', { since: new Date(Date.now() - 60_000) });
  await until(() => second.messages.length === 4);
  assert.equal(second.frames('topic:subscribe').at(-1).data.since.length >= 13, true);
  made.client.topic('room').savePosition();
  made.server.publish('room', 4);
  await until(() => made.messages.length === 3);
  await made.client.close();
  const third = await online(t, { session: { persist: store } }, made.server);
  await live(third, 'room', { since: 'saved' });
  await until(() => third.messages.length === 1);
  assert.deepEqual(texts(third.messages), [4]);
});

test('many topics are asked for in few frames, at most 100 names each', async (t) => {
  const made = rig(t);
  for (let at = 0; at < 150; at++) made.client.topic(`room:${at}`);
  made.client.connect();
  await until(() => made.frames('topic:subscribe').length === 2);
  assert.deepEqual(made.frames('topic:subscribe').map(({ data }) => data.topics.length), [100, 50]);
  await settle();
  assert.equal(made.frames('topic:subscribe').length, 2);
});

test('a refused topic ends with its code, the others live', async (t) => {
  const made = await online(t, {}, { grant: (topic) => topic !== 'secret' });
  const [secret, open] = [made.client.topic('secret'), made.client.topic('open')];
  await until(() => open.state === 'live' && secret.state === 'ended');
  assert.equal(secret.error!.code, 'forbidden');
  assert.deepEqual(made.errors.map(({ code }) => code), ['forbidden']);
  const error = await failure((async () => {
    for await (const _ of secret.messages()) void _;
  })());
  assert.equal(error.code, 'forbidden');
});

test('a subscription that is refused for now is asked for again', async (t) => {
  const made = await online(t);
  let refusals = 1;
  made.server.intercept = (frame, seat) => {
    if (frame.type !== 'topic:subscribe' || refusals-- <= 0) return false;
    seat.refuse(frame, 'unavailable', true, 10);
    return true;
  };
  await live(made);
});

test('a topic is shared, and left when its last user leaves, after a moment', async (t) => {
  const pass = fakeTime(t);
  const made = rig(t);
  made.client.connect();
  const first = made.client.topic('room');
  const second = made.client.topic('room');
  assert.equal(first, second);
  await pass(10);
  first.leave();
  await pass(2_000);
  assert.equal(first.state, 'live');
  second.leave();
  second.leave();
  await pass(900);
  const again = made.client.topic('room');
  assert.equal(again, first, 'back within a second: nothing happened');
  await pass(2_000);
  assert.equal(made.frames('topic:unsubscribe').length, 0);
  again.leave();
  await pass(1_100);
  assert.deepEqual(made.frames('topic:unsubscribe').map(({ data }) => data.topics), [['room']]);
  assert.equal(again.state, 'ended');
  assert.equal(made.server.sessions.values().next().value!.topics.size, 0);
  assert.notEqual(made.client.topic('room'), again);
});

test('a topic left while the connection is away is given back after the resume', async (t) => {
  const pass = fakeTime(t);
  const made = rig(t, { reconnect: { min: 5_000, jitter: 'none' } });
  made.client.connect();
  const topic = made.client.topic('room');
  await pass(10);
  made.server.cut();
  await pass(10);
  topic.leave();
  await pass(2_000);
  made.server.publish('room', 'nobody wants it');
  await pass(5_000);
  assert.equal(made.frames('topic:unsubscribe').length, 1);
  assert.deepEqual(made.messages, []);
});

test('echo and presence are asked for as given', async (t) => {
  const made = await online(t, { token: 'alice' }, { authorize: (token) => token });
  const topic = await live(made, 'room', { echo: false, presence: true });
  await topic.publish('own');
  const seen: unknown[] = [];
  topic.on('join', (member) => seen.push(['join', member.user]));
  topic.on('leave', (member) => seen.push(['leave', member.user]));
  const bob = await online(t, { token: 'bob' }, made.server);
  await live(bob);
  assert.deepEqual(await topic.presence(), { users: ['alice', 'bob'], count: 2, truncated: false });
  await bob.client.close();
  await until(() => seen.length === 2);
  assert.deepEqual([seen, made.messages], [[['join', 'bob'], ['leave', 'bob']], []]);
});

test('the iterator yields messages in order and ends with its signal', async (t) => {
  const made = await online(t);
  const topic = await live(made);
  const stop = new AbortController();
  const seen: unknown[] = [];
  const loop = (async () => {
    for await (const message of topic.messages({ signal: stop.signal })) {
      seen.push(message.data);
      await settle();
      if (seen.length === 5) stop.abort();
    }
  })();
  for (let at = 0; at < 10; at++) made.server.publish('room', at);
  await loop;
  assert.deepEqual(seen, [0, 1, 2, 3, 4]);
});

test('the iterator ends when the topic is left or the client closed', async (t) => {
  const made = await online(t);
  const topic = await live(made);
  const loop = (async () => {
    const seen: Message[] = [];
    for await (const message of topic.messages()) seen.push(message);
    return seen;
  })();
  made.server.publish('room', 1);
  await until(() => made.messages.length === 1);
  await made.client.close();
  assert.deepEqual(texts(await loop), [1]);
});

test('leaving the loop takes its listeners off', async (t) => {
  const made = await online(t);
  const topic = await live(made);
  setImmediate(() => made.server.publish('room', 1));
  for await (const message of topic.messages()) {
    assert.equal(message.data, 1);
    break;
  }
  const iterator = topic.messages();
  await iterator.return!();
  assert.deepEqual(await iterator.next(), { value: undefined, done: true });
});

test('a consumer that is too slow loses the oldest, and is told once', async (t) => {
  const made = await online(t);
  const topic = await live(made);
  const iterator = topic.messages({ buffer: 3 });
  for (let at = 0; at < 10; at++) made.server.publish('room', at);
  await until(() => made.messages.length === 10);
  assert.deepEqual(made.losses.map(({ reason }) => reason), ['slow_app']);
  const seen = [await iterator.next(), await iterator.next(), await iterator.next()].map(({ value }) => value.data);
  assert.deepEqual(seen, [7, 8, 9]);
});

test('messages of the gateway\'s own topics arrive without a subscription, once', async (t) => {
  const made = await online(t);
  const send = (id: string) => made.server.seats[0]!.send({ type: 'topic:message', id, topic: '$user:alice', data: id, ts: 1 });
  for (const id of ['160', '160', '176']) send(id);
  await until(() => made.messages.length === 2);
  await settle();
  assert.deepEqual(texts(made.messages), ['160', '176']);
  await back(made, () => made.server.expire());
  assert.deepEqual(made.losses, [{ topic: '$user:alice', reason: 'session_lost', after: '176' }]);
});

test('listeners can be taken off by hand and by signal', async (t) => {
  const made = await online(t);
  const topic = await live(made);
  const stop = new AbortController();
  let count = 0;
  const off = topic.on('message', () => count++);
  topic.on('message', () => count++, { signal: stop.signal });
  await topic.publish(1);
  await until(() => count === 2);
  off();
  stop.abort();
  await topic.publish(2);
  await until(() => made.messages.length === 2);
  assert.equal(count, 2);
});

test('more than 100 topics are given back in several requests', async (t) => {
  const pass = fakeTime(t);
  const made = rig(t);
  made.client.connect();
  const topics = Array.from({ length: 120 }, (_, at) => made.client.topic(`room:${at}`));
  await pass(10);
  for (const topic of topics) topic.leave();
  await pass(1_100);
  assert.deepEqual(made.frames('topic:unsubscribe').map(({ data }) => data.topics.length), [100, 20]);
  assert.equal(made.server.sessions.values().next().value!.topics.size, 0);
});

test('a topic joined again while its end is under way is asked for after the end, not before', async (t) => {
  const pass = fakeTime(t);
  const made = rig(t);
  made.client.connect();
  const topic = made.client.topic('room');
  await pass(10);
  let hold: (() => void) | undefined;
  made.server.intercept = (frame, seat) => {
    if (frame.type !== 'topic:unsubscribe') return false;
    hold = () => {
      made.server.intercept = undefined;
      seat.session!.topics.delete('room');
      seat.ack(frame, { unsubscribed: ['room'] });
    };
    return true;
  };
  topic.leave();
  await pass(1_100);
  const again = made.client.topic('room');
  await pass(100);
  assert.equal(made.frames('topic:subscribe').length, 1, 'the server might carry it out first');
  hold!();
  await pass(10);
  assert.equal(again.state, 'live');
  made.server.publish('room', 1);
  await pass(10);
  assert.equal(made.messages.length, 1);
});

test('a publish waits for the answer to a subscription made before it', async (t) => {
  const made = await online(t);
  let hold: (() => void) | undefined;
  made.server.intercept = (frame, seat) => {
    if (frame.type !== 'topic:subscribe') return false;
    hold = () => {
      made.server.intercept = undefined;
      seat.receive(JSON.stringify(frame));
    };
    return true;
  };
  const topic = made.client.topic('room');
  const answer = topic.publish('own');
  await until(() => hold);
  await settle();
  assert.equal(made.frames('topic:publish').length, 0);
  hold!();
  await answer;
  await until(() => made.messages.length === 1);
});

test('a catch-up does not hide what another topic of the partition still has on the way', async (t) => {
  const made = await online(t);
  await live(made, 'a');
  const [seat] = made.server.seats;
  const { send } = seat!;
  seat!.send = (frame) => {
    if (frame.topic !== 'a') send.call(seat, frame);
  };
  made.server.publish('a', 'on the way when the link breaks');
  const id = made.server.publish('b', 'later in the partition');
  const b = made.client.topic('b', { since: '0' });
  await until(() => b.position === id);
  await back(made);
  await until(() => made.messages.length === 2);
  assert.deepEqual(made.losses, []);
});
