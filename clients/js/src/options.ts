import type { Backoff } from './backoff.js';
import type { Codec, Frame } from './codec.js';
import type { Close, State } from './contract.js';
import type { Logger } from './emitter.js';
import type { SparkwayError } from './errors.js';
import type { QueueSettings } from './outbox.js';
import type { Store } from './saved.js';
import type { TokenSource } from './token.js';
import type { Loss, Message } from './topic.js';
import type { SocketConstructor } from './wire.js';

/** How the client behaves; every field has a default. */
export interface SparkwayOptions {
  /** A token, or a function that fetches one whenever one is needed. */
  token?: TokenSource;
  /** `'json'` (default), or `msgpack()` of `sparkway/msgpack`. */
  encoding?: 'json' | Codec;
  reconnect?: Backoff;
  /** In ms: until a socket is open and greeted (5,000); without any sign of life after a question (10,000); for a request (30,000). */
  timeouts?: { connect?: number; ack?: number; request?: number };
  /** Publishes that wait for a connection or an answer; with a `store` they outlive a reload. */
  queue?: Partial<QueueSettings> & { store?: Store };
  /** Where the session outlives a reload: `'tab'` (sessionStorage, the default), `'none'`, or a store; `key` names it there. */
  session?: { persist?: 'none' | 'tab' | Store; key?: string };
  /** A WebSocket class, where the platform has none (Node 20: npm `ws`). */
  webSocket?: SocketConstructor;
  logger?: Logger;
  /** Sees every frame but publishes going out. */
  trace?: (direction: 'in' | 'out', frame: Frame) => void;
}

/** A frozen picture of the connection. A new object exactly when something changed. */
export interface Status {
  readonly state: State;
  /** Since when, Unix ms. */
  readonly since: number;
  /** Failed attempts in a row. */
  readonly attempt: number;
  /** When the next attempt starts, Unix ms, while waiting for it. */
  readonly nextRetryAt?: number;
  readonly sessionId?: string;
  readonly node?: string;
  readonly user?: string;
  /** Of the last heartbeat, ms. */
  readonly rtt?: number;
  /** Whether publishes wait for an answer; `Sparkway.queued` has their number. */
  readonly pending: boolean;
  readonly lastClose?: Close;
  /** Why it is closed, if the client did not do it itself. */
  readonly error?: SparkwayError;
}

/** The connection is back. */
export interface Resumed {
  /** False when the session was lost and a new one began. */
  recovered: boolean;
  sessionId: string;
  node?: string;
  /** How many messages are sent again. */
  replayCount: number;
}

export interface SparkwayEvents {
  status: Status;
  resume: Resumed;
  /** Every message of every topic, also of those the server subscribed. */
  message: Message;
  /** What nobody else is told: refused topics, failed token callbacks, restored publishes that failed. */
  error: SparkwayError;
  /** Something of a topic is gone. Never without reason. */
  loss: Loss;
}
