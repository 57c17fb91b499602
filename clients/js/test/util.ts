import type { TestContext } from 'node:test';
import { Sparkway, type Loss, type Message, type SparkwayError, type SparkwayOptions } from 'sparkway';
import { FakeServer, type FakeOptions } from 'sparkway/testing';

/** Lets everything that is due happen: microtasks, and the turn of the event loop. */
export const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Waits until something is so; fails after `ms`. */
export async function until(what: () => unknown, ms = 5_000): Promise<void> {
  const end = performance.now() + ms;
  while (!what()) {
    if (performance.now() > end) throw new Error(`never happened: ${what}`);
    await settle();
  }
}

/** The rejection of a promise that has to fail. */
export async function failure(promise: Promise<unknown>): Promise<SparkwayError> {
  try {
    await promise;
  } catch (error) {
    return error as SparkwayError;
  }
  throw new Error('it did not fail');
}

/** Replaces the clock and the timers; the result moves them on, in steps. */
export function fakeTime(t: TestContext): (ms: number, step?: number) => Promise<void> {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: Date.UTC(2026, 10, 20) });
  return async (ms, step = Math.min(ms, 50) || 1) => {
    await settle();
    for (let left = ms; left > 0; left -= step) {
      t.mock.timers.tick(Math.min(step, left));
      await settle();
    }
  };
}

/** A client of a fake cluster, and everything it was told. */
export interface Rig {
  server: FakeServer;
  client: Sparkway;
  messages: Message[];
  losses: Loss[];
  errors: SparkwayError[];
  states: string[];
  frames(type: string): any[];
}

/** Sets a client up and closes it after the test. */
export function rig(t: TestContext, options: SparkwayOptions = {}, fake: FakeOptions | FakeServer = {}): Rig {
  const server = fake instanceof FakeServer ? fake : new FakeServer(fake);
  const client = new Sparkway(server.urls, {
    webSocket: server.WebSocket,
    reconnect: { min: 1, max: 5 },
    session: { persist: 'none' },
    ...options,
  });
  const made: Rig = {
    ...{ server, client, messages: [], losses: [], errors: [], states: [] },
    frames: (type) => server.received.filter(({ frame }) => frame.type === type).map(({ frame }) => frame),
  };
  client.on('message', (message) => made.messages.push(message));
  client.on('loss', (loss) => made.losses.push(loss));
  client.on('error', (error) => made.errors.push(error));
  client.on('status', ({ state }) => made.states.at(-1) === state || made.states.push(state));
  t.after(() => client.close());
  return made;
}

/** As `rig`, and online. */
export async function online(t: TestContext, options: SparkwayOptions = {}, fake: FakeOptions | FakeServer = {}): Promise<Rig> {
  const made = rig(t, options, fake);
  made.client.connect();
  await made.client.ready();
  return made;
}

/** Waits until the client has come back after a cut. */
export async function back({ client, server }: Rig, cut: () => void = () => server.cut()): Promise<boolean> {
  const returned = new Promise<boolean>((resolve) => {
    const off = client.on('resume', ({ recovered }) => {
      off();
      resolve(recovered);
    });
  });
  cut();
  return returned;
}

/** Texts of messages, for short comparisons. */
export const texts = (messages: Message[]): unknown[] => messages.map(({ data }) => data);

/** A sessionStorage of its own. */
export class MemoryStore {
  readonly values = new Map<string, string>();
  getItem(key: string): string | null {
    return this.values.get(key) ?? null;
  }
  setItem(key: string, value: string): void {
    this.values.set(key, value);
  }
  removeItem(key: string): void {
    this.values.delete(key);
  }
}
