import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { Window } from 'happy-dom';
import { act, createElement, StrictMode, type FunctionComponent } from 'react';
import { renderToString } from 'react-dom/server';
import { Sparkway, type Message, type TopicOptions } from 'sparkway';
import { FakeServer } from 'sparkway/testing';
import { SparkwayProvider, useLatest, useMessages, usePresence, usePublish, useStatus, useTopic } from 'sparkway/react';
import { settle, until } from './util.js';

const window = new Window();
Object.assign(globalThis, { window, document: window.document, navigator: window.navigator, IS_REACT_ACT_ENVIRONMENT: true });
const { createRoot, hydrateRoot } = await import('react-dom/client');

const h = createElement;

function setup(t: TestContext, fake = {}) {
  const server = new FakeServer(fake);
  const client = new Sparkway(server.urls, { webSocket: server.WebSocket, reconnect: { min: 1, max: 5 }, session: { persist: 'none' }, token: 'alice' });
  t.after(() => client.close());
  const count = (type: string) => server.received.filter(({ frame }) => frame.type === type).length;
  return { server, client, count };
}

/** Mounts a component under StrictMode; the result reads its text and takes it away. */
async function mount(t: TestContext, client: Sparkway, component: FunctionComponent<any>, props = {}) {
  const container = window.document.createElement('div');
  const root = createRoot(container as any);
  const render = (next: object) => act(async () => root.render(h(StrictMode, null, h(SparkwayProvider, { client }, h(component, next)))));
  const unmount = () => act(async () => root.unmount());
  await render(props);
  t.after(unmount);
  return { text: () => container.textContent, render, unmount };
}

/** Lets the fake and React do what is due, until the text is so and stays so. */
async function shows(view: { text(): string }, text: string) {
  const end = performance.now() + 3_000;
  for (let same = 0; same < 3 && performance.now() < end; same = view.text() === text ? same + 1 : 0) {
    await act(async () => {
      for (let at = 0; at < 5; at++) await settle();
    });
  }
  assert.equal(view.text(), text);
}

test('the provider connects, and the status is shown', async (t) => {
  const { client } = setup(t);
  const Status = () => useStatus().state;
  const view = await mount(t, client, Status);
  await shows(view, 'online');
  await act(async () => client.close());
  assert.equal(view.text(), 'closed');
});

test('StrictMode mounts twice and makes the traffic of one', async (t) => {
  const { server, client, count } = setup(t);
  const List = () => useMessages('room').map(({ data }) => data).join(',');
  const view = await mount(t, client, List);
  await shows(view, '');
  assert.deepEqual([count('ws:connect'), count('topic:subscribe'), count('topic:unsubscribe')], [1, 1, 0]);
  server.publish('room', 'a');
  server.publish('room', 'b');
  await shows(view, 'a,b');
  server.cut();
  server.publish('room', 'c');
  await shows(view, 'a,b,c');
});

test('messages are limited, and replaced by key', async (t) => {
  const { server, client } = setup(t);
  const key = (message: Message) => message.data.id;
  const List = () => useMessages('room', { limit: 2, key }).map(({ data }) => `${data.id}${data.v}`).join(',');
  const view = await mount(t, client, List);
  await shows(view, '');
  for (const [id, v] of [['x', 1], ['y', 1], ['x', 2], ['z', 1]]) server.publish('room', { id, v });
  await shows(view, 'y1,z1');
});

test('several components share one subscription, which ends after the last', async (t) => {
  const { server, client, count } = setup(t);
  const Two = ({ second }: { second: boolean }) => h('p', null, useLatest('room'), second && h(Latest));
  const Latest = () => useLatest<string, string>('room', ({ data }) => data.toUpperCase()) ?? '';
  const view = await mount(t, client, Two, { second: true });
  await shows(view, '');
  server.publish('room', 'a');
  await shows(view, 'aA');
  assert.equal(count('topic:subscribe'), 1);
  await view.render({ second: false });
  await view.unmount();
  const topic = client.topic('room');
  topic.leave();
  await until(() => count('topic:unsubscribe') === 1);
});

test('the latest value renders again only when the selected part changed', async (t) => {
  const { server, client } = setup(t);
  let renders = 0;
  const Latest = () => {
    renders++;
    return String(useLatest<{ a: number; b: number }, number>('room', ({ data }) => data.a) ?? '');
  };
  const view = await mount(t, client, Latest);
  await shows(view, '');
  server.publish('room', { a: 1, b: 1 });
  await shows(view, '1');
  const before = renders;
  for (let b = 2; b < 10; b++) server.publish('room', { a: 1, b });
  await shows(view, '1');
  assert.equal(renders, before);
});

test('a topic reports its state and hands over every message to the newest callback', async (t) => {
  const { server, client } = setup(t, { grant: (topic: string) => topic !== 'secret' });
  const seen: unknown[] = [];
  const Topic = ({ name, tag }: { name: string; tag: string }) => {
    const { state, error } = useTopic(name, { onMessage: ({ data }) => void seen.push([tag, data]) });
    return `${state} ${error?.code ?? ''}`;
  };
  const view = await mount(t, client, Topic, { name: 'room', tag: 'one' });
  await shows(view, 'live ');
  server.publish('room', 1);
  await shows(view, 'live ');
  await view.render({ name: 'room', tag: 'two' });
  server.publish('room', 2);
  await shows(view, 'live ');
  assert.deepEqual(seen, [['one', 1], ['two', 2]]);
  await view.render({ name: 'secret', tag: 'two' });
  await shows(view, 'ended forbidden');
});

test('a publish from an effect is seen by a subscription of the same commit', async (t) => {
  const { client } = setup(t);
  const { useEffect } = await import('react');
  const Child = () => {
    const [publish] = usePublish('room');
    useEffect(() => void publish('from the effect'), []);
    return null;
  };
  const Parent = () => h('p', null, h(Child), useLatest('room'));
  const view = await mount(t, client, Parent);
  await shows(view, 'from the effect');
});

test('publish tells what is pending and what failed', async (t) => {
  const { server, client } = setup(t);
  let publish!: (data: unknown) => Promise<unknown>;
  const Button = () => {
    const [send, { pending, error }] = usePublish('room');
    publish = send;
    return `${pending} ${(error as any)?.code ?? ''}`;
  };
  const view = await mount(t, client, Button);
  await shows(view, '0 ');
  server.intercept = ({ type }) => type === 'topic:publish';
  await act(async () => void publish(1).catch(() => {}));
  await shows(view, '1 ');
  server.intercept = undefined;
  server.cut();
  await shows(view, '0 ');
  server.intercept = (frame, seat) => {
    if (frame.type !== 'topic:publish') return false;
    seat.refuse(frame, 'forbidden');
    return true;
  };
  await act(async () => void (await publish(2).catch(() => {})));
  await shows(view, '0 forbidden');
});

test('presence follows who comes and goes', async (t) => {
  const { server, client } = setup(t, { authorize: (token: string) => token });
  const Who = () => usePresence('room').users.join(',');
  const view = await mount(t, client, Who);
  await shows(view, 'alice');
  const bob = new Sparkway(server.urls, { webSocket: server.WebSocket, token: 'bob', session: { persist: 'none' } });
  bob.connect();
  const topic = bob.topic('room');
  await act(() => until(() => topic.state === 'live'));
  await shows(view, 'alice,bob');
  await act(() => bob.close());
  await shows(view, 'alice');
});

const App = ({ options }: { options?: TopicOptions }) =>
  h('p', null, useStatus().state, '|', useTopic('room', options).state, '|', useMessages('room').length, '|', usePresence('room').count, '|', String(useLatest('room')));

test('a server renders it without connecting, and the browser takes the markup up', async (t) => {
  const { server, client } = setup(t);
  const tree = () => h(StrictMode, null, h(SparkwayProvider, { client }, h(App)));
  const html = renderToString(tree());
  assert.equal(html.replace(/<!-- -->/g, ''), '<p>idle|pending|0|0|undefined</p>');
  await settle();
  assert.deepEqual([server.received.length, client.status.state], [0, 'idle']);
  const errors = t.mock.method(console, 'error', () => {});
  const container = window.document.createElement('div');
  container.innerHTML = html;
  let root: any;
  await act(async () => (root = hydrateRoot(container as any, tree())));
  t.after(() => act(async () => root.unmount()));
  server.publish('room', 'x');
  const view = { text: () => container.textContent };
  await act(() => until(() => /^online\|live\|/.test(view.text())));
  assert.deepEqual(errors.mock.calls.map(({ arguments: [text] }) => text), [], 'no mismatch');
});

test('without a provider the error says what is missing', async (t) => {
  const { client } = setup(t);
  void client;
  assert.throws(() => renderToString(h(() => useStatus().state)), /SparkwayProvider/);
});
