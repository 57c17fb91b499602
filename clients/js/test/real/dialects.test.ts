/** The profiles against the real gateway: `SPARKWAY_BIN=/path/to/sparkway npm run test:real`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { WebSocket } from 'ws';
import type { SocketConstructor } from 'sparkway';
import { WebSocketConnection } from 'sparkway/conversation';
import { WebSocketClient } from 'sparkway/topics';
import { nodes, until } from './gateway.js';

const webSocket = WebSocket as unknown as SocketConstructor;

test('the topics profile talks to the topics dialect', async () => {
  const seen: unknown[] = [];
  const ws = new WebSocketClient(`ws://127.0.0.1:${nodes[0]!.port}/ws/topics`, { webSocket, onEvent: ({ data }) => seen.push(data) });
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
  const ws = new WebSocketConnection(() => {}, { url: `ws://127.0.0.1:${nodes[0]!.port}/ws/conversation`, webSocket, logger: { error: () => {} } });
  await ws.connect();
  assert.equal(ws.state.status, 'connected');
  assert.ok(ws.state.conversationId);
  ws.close();
});
