import { createContext, createElement, useCallback, useContext, useEffect, useMemo, useRef, useState, useSyncExternalStore } from 'react';
import type { FunctionComponent, ReactNode } from 'react';
import type { Message, Off, Presence, Published, PublishOptions, Sparkway, SparkwayError, Status, Topic, TopicOptions, TopicState } from './index.js';

const Client = createContext<Sparkway | undefined>(undefined);

/** Gives a client to the components below, and connects it when they are mounted in a browser. */
export const SparkwayProvider: FunctionComponent<{ client: Sparkway; children?: ReactNode }> = ({ client, children }) => {
  useEffect(() => client.connect(), [client]);
  return createElement(Client.Provider, { value: client }, children);
};

/** The client of the provider above. */
export function useSparkway(): Sparkway {
  const client = useContext(Client);
  if (!client) throw new Error('no SparkwayProvider above');
  return client;
}

/** What a server renders: nothing is connected there. */
const UNCONNECTED: Status = Object.freeze({ state: 'idle', since: 0, attempt: 0, pending: false });

/** The connection's status. */
export function useStatus(): Status {
  const client = useSparkway();
  return useSyncExternalStore(
    useCallback((changed) => client.on('status', changed), [client]),
    () => client.status,
    () => UNCONNECTED,
  );
}

type Attach<T, S> = (topic: Topic<T>, set: (next: S) => void, get: () => S) => Off;

/** A value drawn from a topic. The topic is joined while somebody listens to the value. */
function useDrawn<T, S>(name: string, options: TopicOptions, initial: S, attach: Attach<T, S>): S {
  const client = useSparkway();
  const { subscribe, get } = useMemo(() => {
    let value = initial;
    const get = () => value;
    const subscribe = (changed: () => void) => {
      const topic = client.topic<T>(name, options);
      const set = (next: S) => {
        if (Object.is(next, value)) return;
        value = next;
        changed();
      };
      const off = attach(topic, set, get);
      return () => {
        off();
        topic.leave();
      };
    };
    return { subscribe, get };
  }, [client, name]);
  return useSyncExternalStore(subscribe, get, () => initial);
}

/** Always the newest `value`, for callbacks that outlive a render. */
function useNewest<T>(value: T): { current: T } {
  const box = useRef(value);
  useEffect(() => void (box.current = value));
  return box;
}

/** How a joined topic stands. */
export interface TopicView {
  readonly state: TopicState;
  readonly error?: SparkwayError;
}

const PENDING: TopicView = { state: 'pending' };

/** Joins a topic while mounted; `onMessage` sees every message. */
export function useTopic<T = any>(name: string, { onMessage, ...options }: TopicOptions & { onMessage?: (message: Message<T>) => void } = {}): TopicView {
  const newest = useNewest(onMessage);
  return useDrawn<T, TopicView>(name, options, PENDING, (topic, set, get) => {
    const look = () => topic.state === get().state || set({ state: topic.state, error: topic.error });
    const offs = [topic.on('message', (message) => newest.current?.(message)), topic.on('state', look)];
    look();
    return () => offs.forEach((off) => off());
  });
}

const NOTHING: readonly never[] = [];

/**
 * The newest `limit` messages (default 200), in order. With a `key`, a message takes the place of the
 * earlier one with the same key.
 */
export function useMessages<T = any>(
  name: string,
  { limit = 200, key, ...options }: TopicOptions & { limit?: number; key?: (message: Message<T>) => unknown } = {},
): readonly Message<T>[] {
  const newest = useNewest({ limit, key });
  return useDrawn<T, readonly Message<T>[]>(name, options, NOTHING, (topic, set, get) =>
    topic.on('message', (message) => {
      const { limit, key } = newest.current;
      const list = [...get()];
      const at = key ? list.findIndex((other) => key(other) === key(message)) : -1;
      if (at < 0) list.push(message);
      else list[at] = message;
      set(list.slice(-limit));
    }),
  );
}

/** What `select` draws from the newest message; renders again only when that changed. */
export function useLatest<T = any, S = T>(
  name: string,
  select: (message: Message<T>) => S = (message) => message.data as unknown as S,
  options: TopicOptions & { equal?: (a: S, b: S | undefined) => boolean } = {},
): S | undefined {
  const newest = useNewest({ select, equal: options.equal ?? Object.is });
  return useDrawn<T, S | undefined>(name, options, undefined, (topic, set, get) =>
    topic.on('message', (message) => {
      const next = newest.current.select(message);
      if (!newest.current.equal(next, get())) set(next);
    }),
  );
}

const NOBODY: Presence = { users: [], count: 0, truncated: false };

/** Who is in a topic: asked once it is live, then kept up to date. */
export function usePresence(name: string): Presence {
  return useDrawn<any, Presence>(name, { presence: true }, NOBODY, (topic, set) => {
    const stop = new AbortController();
    const ask = () => {
      if (topic.state === 'live') topic.presence({ signal: stop.signal }).then(set, () => {}); // the next change asks again
    };
    for (const type of ['state', 'join', 'leave'] as const) topic.on(type, ask, stop);
    ask();
    return () => stop.abort();
  });
}

/** A publish function for a topic, and how its last calls stand. */
export function usePublish<T = any>(
  name: string,
): [publish: (data: T, options?: PublishOptions) => Promise<Published>, status: { pending: number; error?: unknown }] {
  const client = useSparkway();
  const [status, set] = useState<{ pending: number; error?: unknown }>({ pending: 0 });
  const publish = useCallback(
    (data: T, options?: PublishOptions) => {
      const done = (error?: unknown) => set(({ pending }) => ({ pending: pending - 1, error }));
      set(({ pending }) => ({ pending: pending + 1 }));
      const answer = client.publish(name, data, options);
      answer.then(() => done(), done);
      return answer;
    },
    [client, name],
  );
  return [publish, status];
}
