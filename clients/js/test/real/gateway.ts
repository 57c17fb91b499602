/** The real gateway, for the tests that ask for it: a missing binary is a failure and never a skip. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { connect, createServer } from 'node:net';
import { after, before } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import type { Node } from '../soak.js';

const binary = process.env.SPARKWAY_BIN;
assert.ok(binary, 'set SPARKWAY_BIN to the gateway to test against');
accessSync(binary, constants.X_OK);

let gateway: ChildProcess;
let output = '';

/** Where the nodes listen; filled before the first test. */
export const nodes: Node[] = [];

/** `sparkway dev` takes a port for each node, and one above 1,000 more for each internal listener. */
async function freePorts(): Promise<number> {
  for (;;) {
    const first = 20_000 + Math.floor(Math.random() * 10_000);
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

const answers = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(socket.destroy() && true));
    socket.once('error', () => resolve(false));
  });

before(async () => {
  const first = await freePorts();
  const store = process.env.SPARKWAY_REDIS ? ['--redis', process.env.SPARKWAY_REDIS] : [];
  gateway = spawn(binary, ['dev', '--port', String(first), ...store], { stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [gateway.stdout!, gateway.stderr!]) stream.on('data', (bytes) => (output = (output + bytes).slice(-4_000)));
  nodes.push(...[first, first + 1].map((port) => ({ host: '127.0.0.1', port, path: '/ws' })));
  const end = Date.now() + 20_000;
  for (const { port } of nodes) {
    while (!(await answers(port))) {
      if (gateway.exitCode !== null || Date.now() > end) throw new Error(`the gateway does not listen on ${port}:\n${output}`);
      await wait(50);
    }
  }
});

after(() => gateway.kill('SIGKILL'));

/** Waits until something is so; fails with what the gateway said. */
export async function until(what: () => unknown, ms = 5_000): Promise<void> {
  const end = Date.now() + ms;
  while (!what()) {
    if (Date.now() > end) throw new Error(`never happened: ${what}\n${output}`);
    await wait(5);
  }
}
