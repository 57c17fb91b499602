import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SparkwayError } from 'sparkway';
import { expiryOf } from '../dist/token.js';
import { back, failure, fakeTime, online, rig, settle, until } from './util.js';

const jwt = (exp: number) => `x.${Buffer.from(JSON.stringify({ exp, sub: '\u00fc' })).toString('base64url')}.y`;

test('the expiry of a JWT is read, anything else has none', () => {
  assert.equal(expiryOf(jwt(1_700_000_000)), 1_700_000_000_000);
  for (const other of [undefined, '', 'opaque', 'a.b.c', `x.${Buffer.from('{}').toString('base64url')}.y`]) {
    assert.equal(expiryOf(other), undefined, String(other));
  }
});

test('a rejected token is fetched anew once, then the client stops', async (t) => {
  const reasons: string[] = [];
  const made = rig(t, { token: ({ reason }) => (reasons.push(reason), 'bad') }, { authorize: () => undefined });
  made.client.connect();
  const error = await failure(made.client.ready());
  assert.equal(error.code, 'unauthorized');
  assert.deepEqual(reasons, ['initial', 'rejected']);
});

test('a fixed token that is rejected stops the client at once', async (t) => {
  const made = rig(t, { token: 'bad' }, { authorize: () => undefined });
  made.client.connect();
  assert.equal((await failure(made.client.ready())).code, 'unauthorized');
  assert.equal(made.frames('ws:connect').length, 1);
});

test('a fresh token lets the client in after a rejection', async (t) => {
  const made = await online(t, { token: ({ reason }) => (reason === 'rejected' ? 'good' : 'bad') }, { authorize: (token) => (token === 'good' ? 'alice' : undefined) });
  assert.equal(made.client.status.user, 'alice');
});

test('a token callback that fails is asked again; one that says stop is obeyed', async (t) => {
  let calls = 0;
  const made = rig(t, {
    token: () => {
      if (++calls < 3) throw new Error('login server away');
      throw new SparkwayError('signed_out', 'nobody is signed in');
    },
  });
  made.client.connect();
  assert.equal((await failure(made.client.ready())).code, 'signed_out');
  assert.deepEqual(made.errors.map(({ code }) => code), ['callback_failed', 'callback_failed', 'signed_out']);
  assert.equal(calls, 3);
});

test('a pending token callback is aborted by close', async (t) => {
  let signal: AbortSignal | undefined;
  const made = rig(t, { token: (why) => ((signal = why.signal), new Promise<string>(() => {})) });
  made.client.connect();
  await settle();
  await made.client.close();
  assert.equal(signal!.aborted, true);
});

test('a token is renewed before it expires, in place', async (t) => {
  const pass = fakeTime(t);
  const reasons: string[] = [];
  const token = ({ reason }: { reason: string }) => {
    reasons.push(reason);
    return jwt(Math.floor(Date.now() / 1_000) + 600);
  };
  const made = rig(t, { token }, { authorize: () => 'alice' });
  made.client.connect();
  await pass(530_000, 5_000);
  assert.deepEqual(reasons, ['initial']);
  await pass(20_000, 1_000);
  assert.deepEqual(reasons, ['initial', 'expired']);
  assert.equal(made.frames('ws:refresh').length, 1);
  await pass(3_000_000, 50_000);
  assert.equal(reasons.length, 2, 'the answer said one hour');
});

test('topics that the new token does not grant end', async (t) => {
  let granted = true;
  const made = await online(t, { token: () => 'alice' }, { grant: () => granted });
  const topic = made.client.topic('secret');
  await until(() => topic.state === 'live');
  granted = false;
  await made.client.refreshToken();
  await until(() => topic.state === 'ended');
  assert.equal(topic.error!.code, 'forbidden');
  assert.deepEqual(made.losses, []);
});

test('an expired credential is replaced and the session resumed', async (t) => {
  const reasons: string[] = [];
  const made = await online(t, { token: ({ reason }) => (reasons.push(reason), 'alice') }, { authorize: (token) => token });
  assert.equal(await back(made, () => made.server.close(4010, 'token_expired')), true);
  await until(() => made.frames('ws:refresh').length === 1);
  assert.deepEqual(reasons, ['initial', 'expired']);
});
