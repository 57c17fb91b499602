import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode, encode, msgpack } from 'sparkway/msgpack';
import { back, online, until } from './util.js';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

// The bytes of the MessagePack specification, one per format.
const golden: [unknown, string][] = [
  [null, 'c0'],
  [false, 'c2'],
  [true, 'c3'],
  [0, '00'],
  [127, '7f'],
  [128, 'cc80'],
  [256, 'cd0100'],
  [65_536, 'ce00010000'],
  [4_294_967_296, 'cf0000000100000000'],
  [Number.MAX_SAFE_INTEGER, 'cf001fffffffffffff'],
  [-1, 'ff'],
  [-32, 'e0'],
  [-33, 'd0df'],
  [-129, 'd1ff7f'],
  [-32_769, 'd2ffff7fff'],
  [-2_147_483_649, 'd3ffffffff7fffffff'],
  [2n ** 64n - 1n, 'cfffffffffffffffff'],
  [-(2n ** 63n), 'd38000000000000000'],
  [0.5, 'cb3fe0000000000000'],
  ['', 'a0'],
  ['\u20ac', 'a3e282ac'],
  ['x'.repeat(32), `d920${'78'.repeat(32)}`],
  ['x'.repeat(256), `da0100${'78'.repeat(256)}`],
  [new Uint8Array([1, 2]), 'c4020102'],
  [new Uint8Array(256), `c50100${'00'.repeat(256)}`],
  [[], '90'],
  [[1, [2]], '92019102'],
  [Array(16).fill(0), `dc0010${'00'.repeat(16)}`],
  [{}, '80'],
  [{ a: 1 }, '81a16101'],
  [Object.fromEntries(Array.from({ length: 16 }, (_, at) => [String.fromCharCode(97 + at), 0])), `de0010${Array.from({ length: 16 }, (_, at) => `a1${(97 + at).toString(16)}00`).join('')}`],
];

test('every format has its bytes and comes back', () => {
  for (const [value, bytes] of golden) {
    assert.equal(hex(encode(value)), bytes, String(value));
    assert.deepEqual(decode(encode(value)), value);
  }
  assert.equal(decode(Buffer.from('ca3f000000', 'hex')), 0.5);
  assert.ok(Object.is(decode(encode(-0)), -0));
  const long = 'y'.repeat(70_000);
  assert.deepEqual(decode(encode([long, new Uint8Array(70_000)])), [long, new Uint8Array(70_000)]);
  assert.equal((decode(encode(Array(70_000).fill(1))) as unknown[]).length, 70_000);
});

test('what JSON would leave out or replace is treated the same', () => {
  const date = new Date(0);
  const value = { gone: undefined, fn: () => 1, date, list: [undefined], nan: null };
  assert.deepEqual(decode(encode(value)), JSON.parse(JSON.stringify(value)));
});

test('a view is encoded as its own part of the buffer', () => {
  const buffer = new Uint8Array([1, 2, 3, 4]).buffer;
  assert.deepEqual(decode(encode(new Uint8Array(buffer, 1, 2))), new Uint8Array([2, 3]));
  assert.deepEqual(decode(encode(buffer)), new Uint8Array([1, 2, 3, 4]));
});

test('a key called __proto__ is a key', () => {
  const value = decode(Buffer.from('81a95f5f70726f746f5f5f01', 'hex'));
  assert.deepEqual(Object.keys(value), ['__proto__']);
  assert.equal(({} as any).polluted, undefined);
});

test('no prefix and no foreign byte gets past the reader, and none allocates what is not there', () => {
  for (const [value] of golden) {
    const bytes = encode(value);
    for (let length = 0; length < bytes.length; length++) assert.throws(() => decode(bytes.slice(0, length)), RangeError);
    assert.throws(() => decode(new Uint8Array([...bytes, 0])), RangeError);
  }
  for (const bytes of ['ddffffffff', 'dfffffffff', 'dbffffffff', 'c6ffffffff', 'c1', 'c70100ff', 'd6ff00000000']) {
    assert.throws(() => decode(Buffer.from(bytes, 'hex')), RangeError, bytes);
  }
  assert.throws(() => decode(Buffer.from('a2c328', 'hex')), TypeError, 'bad UTF-8');
  assert.throws(() => decode(new Uint8Array(10_000).fill(0x91)), RangeError, 'depth');
  let deep: unknown[] = [];
  for (let at = 0; at < 200; at++) deep = [deep];
  assert.throws(() => encode(deep), RangeError);
  assert.throws(() => encode(2n ** 64n), RangeError);
});

test('random values come back as they were', () => {
  let seed = 7;
  const random = (below: number) => (seed = (seed * 48_271) % 2_147_483_647) % below;
  const make = (depth: number): unknown => {
    const kinds = [
      () => random(2) === 1,
      () => null,
      () => random(2 ** 31) - random(2 ** 31),
      () => random(1_000) / 7,
      () => String.fromCodePoint(...Array.from({ length: random(40) }, () => 32 + random(0xd000))),
      () => new Uint8Array(Array.from({ length: random(300) }, () => random(256))),
      () => Array.from({ length: random(20) }, () => make(depth - 1)),
      () => Object.fromEntries(Array.from({ length: random(20) }, () => [`k${random(1_000)}`, make(depth - 1)])),
    ];
    return kinds[random(depth > 0 ? 8 : 6)]!();
  };
  for (let at = 0; at < 300; at++) {
    const value = make(4);
    assert.deepEqual(decode(encode(value)), value);
  }
});

test('a client that speaks MessagePack carries bytes, and a JSON client gets them too', async (t) => {
  const made = await online(t, { encoding: msgpack() });
  const topic = made.client.topic('room');
  await topic.publish(new Uint8Array([1, 2, 255]));
  await until(() => made.messages.length === 1);
  assert.deepEqual(made.messages[0]!.data, new Uint8Array([1, 2, 255]));
  assert.equal(await back(made), true);
  const other = await online(t, {}, made.server);
  other.client.topic('room');
  await until(() => other.frames('topic:subscribe').length === 2);
  const [seat] = made.server.seats.filter(({ session }) => session!.id === other.client.status.sessionId);
  seat!.send({ type: 'topic:message', id: '9007199254740991', topic: 'room', data: 'AQL/', encoding: 'base64', ts: 1 });
  await until(() => other.messages.length === 1);
  assert.deepEqual(other.messages[0]!.data, new Uint8Array([1, 2, 255]));
});
