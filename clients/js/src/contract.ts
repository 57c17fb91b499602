import type { Backoff } from './backoff.js';
import type { Codec, Frame } from './codec.js';
import type { Cursor } from './cursor.js';
import type { SparkwayError } from './errors.js';
import type { TokenSource } from './token.js';
import type { SocketConstructor } from './wire.js';

/** Where the client stands. */
export type State = 'idle' | 'connecting' | 'online' | 'reconnecting' | 'closed';

/** The close of the last socket. */
export interface Close {
  code: number;
  reason: string;
}

/** What proves that a session is ours. */
export interface Session {
  id: string;
  token: string;
  /** When the credential runs out, Unix ms. */
  expires?: number;
}

/** How a connection came up: a first session, the same one again, or a new one after the old was lost. */
export type How = 'new' | 'resumed' | 'lost';

/** What the connection tells its client. */
export interface ConnectionHost {
  _online(how: How, welcome: any): void;
  /** The link is gone; what was sent may have arrived. */
  _offline(): void;
  /** The session is gone for good; a new one will follow. */
  _sessionLost(): void;
  _frame(frame: Frame): void;
  /** A new credential is at hand: tell the server. */
  _renewed(token: string): void;
  /** Whether an answer is awaited. */
  _awaits(): boolean;
  /** No more attempts, until `connect` is called again. */
  _stopped(error: SparkwayError): void;
  _failed(error: SparkwayError): void;
  _changed(): void;
}

/** How the connection behaves. */
export interface ConnectionSettings {
  url: string | string[] | ((attempt: number) => string | Promise<string>);
  codec: Codec;
  /** Where a resume begins. */
  cursor: Cursor;
  token?: TokenSource;
  reconnect: Backoff;
  timeouts: { connect: number; ack: number };
  webSocket?: SocketConstructor;
  trace?: (direction: 'in' | 'out', frame: Frame) => void;
}
