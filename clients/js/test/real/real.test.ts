/**
 * Against the real gateway: `SPARKWAY_BIN=/path/to/sparkway npm run test:real`. Only the real test asks
 * for it, so a missing binary is a failure and never a skip.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { createServer } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { Sparkway, type Message, type SocketConstructor, type SparkwayOptions } from 'sparkway';
import { msgpack } from 'sparkway/msgpack';
import { WebSocketClient } from 'sparkway/topics';
import { WebSocketConnection } from 'sparkway/conversation';
import { soak, type Node } from '../soak.js';

const binary = process.env.SPARKWAY_BIN;
assert.ok(binary, 'set SPARKWAY_BIN to the gateway to test against');
accessSync(binary, constants.X_OK);

const webSocket = WebSocket as unknown as SocketConstructor;
let gateway: ChildProcess;
let port: number;
let nodes: Node[];
let output = '';

/** `sparkway dev` takes a port for each node, and one above 1,000 more for each internal listener. */
async function freePorts(): Promise<number> {
  for (;;) {
    const first = 20_000 + Math.floor(Math.random() * 20_000);
    const free = await Promise.all([first, first + 1, first + 1_000, first + 1_001].map(isFree));
    if (free.every(Boolean)) return first;
  }
}

const isFree = (port: number) =>
  new Promise<boolean>((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });

before(async () => {
  port = await freePorts();
  gateway = spawn(binary, ['dev', '--port', String(port)], { stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [gateway.stdout!, gateway.stderr!]) stream.on('data', (bytes) => (output = (output + bytes).slice(-4_000)));
  nodes = [port, port + 1].map((port) => ({ host: '127.0.0.1', port, path: '/ws' }));
  const end = Date.now() + 20_000;
  for (const { port } of nodes) {
    while (await isFree(port)) {
      if (gateway.exitCode !== null || Date.now() > end) throw new Error(`the gateway does not listen on ${port}:\n${output}`);
      await wait(50);
    }
  }
});

after(() => gateway.kill());

const urls = () => nodes.map(({ host, port, path }) => `ws://${host}:${port}${path}`);
const client = (options: SparkwayOptions = {}) => new Sparkway(urls(), { webSocket, session: { persist: 'none' }, ...options });

async function until(what: () => unknown, ms = 5_000): Promise<void> {
  const end = Date.now() + ms;
  while (!what()) {
    if (Date.now() > end) throw new Error(`never happened: ${what}\n${output}`);
    await wait(5);
  }
}

test('200 random cuts over two nodes: everything once, in order, without a false loss', async (t) => {
  const report = await soak(nodes, { cuts: 200, prefix: `soak-${port}` });
  t.diagnostic(JSON.stringify(report));
});

test('the same over MessagePack', async (t) => {
  const report = await soak(nodes, { cuts: 50, prefix: `soak-mp-${port}`, encoding: msgpack() });
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

test('the topics profile talks to the topics dialect', async () => {
  const seen: unknown[] = [];
  const ws = new WebSocketClient(`ws://127.0.0.1:${port}/ws/topics`, { webSocket, onEvent: ({ data }) => seen.push(data) });
  ws.subscribe(['real:topics']);
  ws.connect();
  await until(() => ws.state === 'connected');
  await wait(200);
  await ws.publish('real:topics', { n: 1 });
  await until(() => seen.length === 1);
  assert.deepEqual(seen, [{ n: 1 }]);
  ws.dispose();
});

test('the conversation profile talks to the conversation dialect', async () => {
  const ws = new WebSocketConnection(() => {}, { url: `ws://127.0.0.1:${port}/ws/conversation`, webSocket, logger: { error: () => {} } });
  await ws.connect();
  assert.equal(ws.state.status, 'connected');
  assert.ok(ws.state.conversationId);
  ws.close();
});
