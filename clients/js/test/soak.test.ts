import { test, type TestContext } from 'node:test';
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';
import { msgpack } from 'sparkway/msgpack';
import { FakeServer } from 'sparkway/testing';
import { soak, type Node } from './soak.js';

/** The fake cluster behind real sockets. */
async function cluster(t: TestContext): Promise<Node[]> {
  const fake = new FakeServer({ partitions: 4 });
  const nodes = [0, 1].map((node) => {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: (offered) => [...offered][0] ?? false });
    server.on('connection', (socket) => {
      const seat = fake.accept(node, socket.protocol, {
        send: (bytes) => socket.send(bytes),
        close: (code, reason) => socket.close(code, reason),
        abort: () => socket.terminate(),
      });
      socket.on('message', (bytes: Buffer, binary) => {
        seat.receive(binary ? new Uint8Array(bytes).buffer : bytes.toString());
      });
      socket.on('close', (code) => seat.left(code === 1000));
      socket.on('error', () => {});
    });
    t.after(() => new Promise((resolve) => server.close(resolve)));
    return server;
  });
  await Promise.all(nodes.map((server) => new Promise((resolve) => server.once('listening', resolve))));
  return nodes.map((server) => ({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, path: '/ws' }));
}

test('200 random cuts over two nodes: everything once, in order, without a false loss', async (t) => {
  const report = await soak(await cluster(t), { cuts: 200, prefix: 'soak' });
  t.diagnostic(JSON.stringify(report));
});

test('the same over MessagePack', async (t) => {
  const report = await soak(await cluster(t), { cuts: 50, prefix: 'soak', encoding: msgpack() });
  t.diagnostic(JSON.stringify(report));
});
