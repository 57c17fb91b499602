/** Against the real gateway: `SPARKWAY_BIN=/path/to/sparkway npm run test:real`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { Sparkway, type Message, type SocketConstructor, type SparkwayOptions } from 'sparkway';
import { msgpack } from 'sparkway/msgpack';
import { soak } from '../soak.js';
import { nodes, until } from './gateway.js';

const webSocket = WebSocket as unknown as SocketConstructor;
const urls = () => nodes.map(({ host, port, path }) => `ws://${host}:${port}${path}`);
const client = (options: SparkwayOptions = {}) => new Sparkway(urls(), { webSocket, session: { persist: 'none' }, ...options });

test('200 random cuts over two nodes: everything once, in order, without a false loss', async (t) => {
  const report = await soak(nodes, { cuts: 200, prefix: 'soak' });
  t.diagnostic(JSON.stringify(report));
});

test('the same over MessagePack', async (t) => {
  const report = await soak(nodes, { cuts: 50, prefix: 'soak-mp', encoding: msgpack() });
  t.diagnostic(JSON.stringify(report));
});

test('publish, history, rewind and since agree with each other', async () => {
  const rt = client();
  rt.connect();
  const first = await rt.publish('real:history', { n: 1 });
  await rt.publish('real:history', { n: 2 });
  await rt.publish('real:history', { n: 3 });
  const { messages, complete } = await rt.history('real:history', { after: first.id });
  assert.deepEqual([messages.map(({ data }) => data.n), complete], [[2, 3], true]);
  for (const [since, expected] of [[first.id!, [2, 3]], [{ rewind: 1 }, [3]]] as const) {
    const other = client();
    const seen: Message[] = [];
    other.topic('real:history', { since }).on('message', (message) => seen.push(message));
    other.connect();
    await until(() => seen.length === expected.length);
    assert.deepEqual(seen.map(({ data }) => data.n), expected);
    await other.close();
  }
  await rt.close();
});

test('bytes sent in MessagePack reach a JSON client as bytes', async () => {
  const [binary, text] = [client({ encoding: msgpack() }), client()];
  const seen: unknown[] = [];
  const topic = text.topic('real:bytes');
  topic.on('message', ({ data }) => seen.push(data));
  text.connect();
  binary.connect();
  await until(() => topic.state === 'live');
  await binary.publish('real:bytes', new Uint8Array([0, 1, 255]));
  await until(() => seen.length === 1);
  assert.deepEqual(seen, [new Uint8Array([0, 1, 255])]);
  await Promise.all([binary.close(), text.close()]);
});

test('a backlog larger than the frame rate allows is stored in order', async () => {
  const rt = client();
  const count = 150;
  const answers = Array.from({ length: count }, (_, n) => rt.publish('real:backlog', n));
  rt.connect();
  await Promise.all(answers);
  const { messages } = await rt.history('real:backlog', { limit: 1_000 });
  assert.deepEqual(messages.map(({ data }) => data), Array.from({ length: count }, (_, n) => n));
  await rt.close();
});

test('a session that was left is taken up again on another node', async () => {
  const rt = client();
  const topic = rt.topic('real:left');
  const seen: unknown[] = [];
  topic.on('message', ({ data }) => seen.push(data));
  rt.connect();
  await until(() => topic.state === 'live');
  const { sessionId } = rt.status;
  rt.disconnect();
  const other = client();
  other.connect();
  await other.publish('real:left', 'missed');
  rt.connect();
  await until(() => seen.length === 1);
  assert.equal(rt.status.sessionId, sessionId);
  await Promise.all([rt.close(), other.close()]);
});
