/** The client that source 1 prints, taken from the document as it stands, against the topics dialect. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { transformSync } from 'esbuild';
import { WebSocket } from 'ws';

const binary = process.env.SPARKWAY_BIN;
assert.ok(binary, 'set SPARKWAY_BIN to the gateway to test against');

const source = new URL('../../../../tests/dialects/sources/1-connection-lifecycle.md', import.meta.url);
const blocks = [...readFileSync(source, 'utf8').matchAll(/```typescript\n(.*?)```/gs)].map((match) => match[1]!);
const classes = blocks.filter((block) => block.includes('class WebSocketClient'));
assert.equal(classes.length, 3, 'backoff, restoration, states');

type Client = { ws: WebSocket | null; connect(): void; subscribe(topics: string[]): void; disconnect(): void };
type Constructor = new () => Client;

const evaluate = (code: string, socket: unknown, console: unknown): Constructor => {
  const plain = transformSync(code, { loader: 'ts' }).code;
  return new Function('WebSocket', 'console', `${plain}; return WebSocketClient;`)(socket, console) as Constructor;
};

/** The printed classes show one client from two sides: one reconnects, the other restores. */
function printed(url: string) {
  const said: string[] = [];
  const heard: Record<string, unknown>[] = [];
  const closes: number[] = [];
  const console = { log: (text: string) => said.push(text), error: (text: string) => said.push(text) };
  const Backoff = evaluate(classes[0]!, WebSocket, console);
  let current: Client;
  // Where the second one makes its socket, it is given the one that the first one has made.
  const Shared = Object.assign(
    function () {
      Backoff.prototype.connect.call(current);
      current.ws!.on('message', (text) => heard.push(JSON.parse(String(text))));
      current.ws!.on('close', (code) => closes.push(code));
      return current.ws!;
    },
    { OPEN: WebSocket.OPEN },
  );
  const Restoring = evaluate(classes[1]!, Shared, console);
  class Both extends Backoff {
    url = url;
    override connect() {
      current = this;
      Restoring.prototype.connect.call(this);
    }
    onMaxReconnectAttempts() {
      said.push('gave up');
    }
  }
  const client = Object.assign(new Both(), new Restoring());
  client.subscribe = Restoring.prototype.subscribe;
  return { client, said, heard, closes };
}

const freePort = () =>
  new Promise<number>((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });

async function serve(port: number, settings: string[] = ['auth.mode=off']): Promise<ChildProcess> {
  const internal = await freePort();
  const all = [`server.listen=127.0.0.1:${port}`, `internal.listen=127.0.0.1:${internal}`, ...settings];
  const node = spawn(binary!, ['serve', ...all.flatMap((setting) => ['--set', setting])], {
    cwd: mkdtempSync(`${tmpdir()}/printed-`),
    stdio: 'ignore',
  });
  await until(() => new Promise<boolean>((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(socket.destroy() && true));
    socket.once('error', () => resolve(false));
  }));
  return node;
}

async function until(what: () => unknown, ms = 60_000): Promise<void> {
  const end = Date.now() + ms;
  while (!(await what())) {
    assert.ok(Date.now() < end, `never happened: ${what}`);
    await wait(20);
  }
}

const topics = ['gift-list:123', 'user:456'];

test('the printed client connects, subscribes, and comes back with its topics after kill -9', async () => {
  const port = await freePort();
  let node = await serve(port);
  const { client, said, heard } = printed(`ws://127.0.0.1:${port}/ws/topics`);
  try {
    client.subscribe(topics);
    client.connect();
    await until(() => heard.length === 1);
    assert.deepEqual(heard, [{ subscribed: topics }]);
    node.kill('SIGKILL');
    await until(() => said.some((text) => text.startsWith('Reconnecting')));
    node = await serve(port);
    await until(() => heard.length === 2);
    assert.deepEqual(heard[1], { subscribed: topics });
    const tries = said.filter((text) => text.startsWith('Reconnecting in'));
    tries.forEach((text, at) => {
      const delay = Number(/in ([\d.]+)ms/.exec(text)![1]);
      const least = 1000 * 2 ** at;
      assert.ok(delay >= least && delay < least + 1000, text);
    });
    // What is published arrives where it was subscribed again.
    const other = new WebSocket(`ws://127.0.0.1:${port}/ws/topics`);
    await until(() => other.readyState === WebSocket.OPEN);
    other.send(JSON.stringify({ type: 'publish', topic: 'user:456', data: { n: 1 } }));
    await until(() => heard.length === 3);
    const { type, topic, data } = heard[2] as Record<string, unknown>;
    assert.deepEqual([type, topic, data], ['event', 'user:456', { n: 1 }]);
    other.close();
  } finally {
    client.disconnect();
    node.kill('SIGKILL');
  }
});

test('the printed client stays away after 1000 and after 1008', async () => {
  const port = await freePort();
  const secret = 'auth.hs256_secret=a-secret-of-the-tests-with-enough-bytes-in-it';
  const [open, closed] = [await serve(port), await freePort()];
  const guarded = await serve(closed, ['auth.mode=required', secret]);
  try {
    const polite = printed(`ws://127.0.0.1:${port}/ws/topics`);
    polite.client.connect();
    await until(() => polite.client.ws!.readyState === WebSocket.OPEN);
    polite.client.disconnect();
    const refused = printed(`ws://127.0.0.1:${closed}/ws/topics?token=nonsense`);
    refused.client.connect();
    await until(() => polite.closes.length === 1 && refused.closes.length === 1);
    assert.deepEqual([polite.closes, refused.closes], [[1000], [1008]]);
    // Its first delay would be over by now.
    await wait(2_500);
    for (const { said } of [polite, refused]) assert.ok(!said.some((text) => text.startsWith('Reconnecting')), said.join('\n'));
  } finally {
    open.kill('SIGKILL');
    guarded.kill('SIGKILL');
  }
});
