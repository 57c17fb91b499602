/**
 * The client library of source 2 (conversation): handshake, states, queue, heartbeat and retries as that
 * document describes them, for the `conversation` dialect.
 */
import type { Logger } from '../emitter.js';
import { SparkwayError } from '../errors.js';
import { Kept, type Store } from '../saved.js';
import { Wire, type SocketConstructor } from '../wire.js';

export { SparkwayError } from '../errors.js';

/** What the application sees. CONNECTING and PENDING are `connecting`, CONFIRMED is `connected`. */
export interface ConnectionState {
  status: 'disconnected' | 'connecting' | 'connected';
  clientId: string | null;
  conversationId: string | null;
  error: string | null;
}

/** Where the protocol stands. */
export type Phase = 'CONNECTING' | 'PENDING' | 'CONFIRMED' | 'DISCONNECTED';

/** An answer of the server. */
export interface ConversationResponse {
  messageId: string;
  content: string;
  timestamp: string;
}

/** A message to send; what is missing is filled in. */
export interface Outgoing {
  type?: 'message';
  content: string;
  timestamp?: string;
  messageId?: string;
  clientId?: string;
}

export interface ConversationOptions {
  url: string;
  /** Made up where absent; kept in `store` if there is one. */
  clientId?: string;
  /** Protocol version. Default `1`. */
  version?: string;
  /** False asks for a new conversation instead of the running one. */
  resume?: boolean;
  /** Default 5. */
  maxReconnectAttempts?: number;
  /** The first delay in ms; it doubles with each attempt. Default 1,000. */
  initialDelay?: number;
  /** Uniform in 0 to this many ms is added to each delay. Default 0. */
  jitter?: number;
  /** Ms between two pings; without a pong in twice that, the connection is given up. Default 30,000. */
  heartbeatInterval?: number;
  /** From the attempt to the confirmation, in ms. Default 10,000. */
  connectTimeout?: number;
  /** How long to wait for a response, in ms; then once more after a reconnect. Default 30,000. */
  messageTimeout?: number;
  /** Longest content of a response, in characters. Default 65,536. */
  maxContent?: number;
  /** Most messages (1,000) and characters (1 MiB) that wait; beyond them the oldest fails. */
  queue?: { messages?: number; bytes?: number };
  /** Keeps messages and the client id across a reload. */
  store?: Store;
  webSocket?: SocketConstructor;
  logger?: Logger;
  /** A response nobody waits for: of an earlier page, or missed while away. */
  onResponse?(response: ConversationResponse): void;
}

interface Waiting {
  message: Required<Outgoing>;
  resolve(response: ConversationResponse): void;
  reject(error: SparkwayError): void;
  timer?: ReturnType<typeof setTimeout>;
  expired: boolean;
}

interface Saved {
  clientId: string;
  messages: Required<Outgoing>[];
}

type Timer = ReturnType<typeof setTimeout> | undefined;

const LATER_MS = 1_000;

/** A conversation over one connection after another. */
export class WebSocketConnection {
  /** Where the protocol stands. */
  phase: Phase = 'DISCONNECTED';
  private _state: ConnectionState = { status: 'disconnected', clientId: null, conversationId: null, error: null };
  private _clientId: string;
  private _waiting = new Map<string, Waiting>();
  private _attempts = 0;
  private _hint?: number;
  private _wire: Wire;
  private _retry: Timer;
  private _confirm: Timer;
  private _beat: Timer;
  private _pongAt = 0;
  private _kept: Kept<Saved>;
  private _callers: { resolve(): void; reject(error: SparkwayError): void }[] = [];

  constructor(
    private _onState: (state: ConnectionState) => void,
    private _options: ConversationOptions,
  ) {
    this._kept = new Kept(_options.store, 'sparkway:conversation');
    const saved = this._kept.peek();
    this._clientId = _options.clientId ?? saved?.clientId ?? randomId();
    this._wire = new Wire(
      {
        opened: () => this._opened(),
        received: (bytes) => this._received(bytes),
        closed: (code, reason) => this._closed(code, reason),
      },
      _options.webSocket,
    );
    for (const message of saved?.messages ?? []) this._insert(message, (response) => this._unexpected(response), () => {});
  }

  /** The present state; a new object with each change. */
  get state(): ConnectionState {
    return this._state;
  }

  /** Messages without a response. */
  get queued(): number {
    return this._waiting.size;
  }

  /** Resolves when the server confirmed; rejects when the attempts are used up or the client is closed. */
  connect(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.phase === 'CONFIRMED') return resolve();
      this._callers.push({ resolve, reject });
      if (this.phase !== 'DISCONNECTED' || this._retry) return;
      this._attempts = 0;
      this._dial();
    });
  }

  /**
   * Sends now or when confirmed; resolves with the response. A retry keeps the message id, so the server
   * stores the message once.
   */
  send({ content, messageId = randomId(), timestamp = now() }: Outgoing): Promise<ConversationResponse> {
    const known = this._waiting.has(messageId);
    if (known) return Promise.reject(new SparkwayError('invalid', `message ${messageId} waits already`));
    return new Promise((resolve, reject) => {
      const message = { type: 'message' as const, clientId: this._clientId, content, timestamp, messageId };
      const waiting = this._insert(message, resolve, reject);
      this._keep();
      if (this.phase === 'CONFIRMED' && this._waiting.has(messageId)) this._post(waiting);
    });
  }

  /** Closes with 1000 and stays away; what waits fails. */
  close(): void {
    this._clear();
    this._wire.close(1000, 'Client disconnect');
    this._enter('DISCONNECTED', null);
    const error = new SparkwayError('closed', 'the client was closed');
    for (const waiting of this._waiting.values()) this._end(waiting, () => waiting.reject(error));
    this._settleCallers(error);
  }

  private _insert(message: Required<Outgoing>, resolve: Waiting['resolve'], reject: Waiting['reject']): Waiting {
    const waiting: Waiting = { message, resolve, reject, expired: false };
    this._waiting.set(message.messageId, waiting);
    const { messages = 1_000, bytes = 1 << 20 } = this._options.queue ?? {};
    const all = [...this._waiting.values()];
    let size = all.reduce((sum, { message }) => sum + message.content.length, 0);
    while (all.length > messages || size > bytes) {
      const oldest = all.shift();
      if (!oldest) break;
      size -= oldest.message.content.length;
      this._end(oldest, () => oldest.reject(new SparkwayError('queue_full', 'a newer message took its place', true)));
    }
    return waiting;
  }

  private _dial(): void {
    this._clear();
    this._enter('CONNECTING', this._state.error);
    const { connectTimeout = 10_000, url } = this._options;
    this._confirm = setTimeout(() => this._wire.drop('Connection timeout'), connectTimeout);
    this._wire.open(url, undefined, connectTimeout + 1);
  }

  private _opened(): void {
    this._enter('PENDING', this._state.error);
    const { version = '1', resume } = this._options;
    this._write({ type: 'connect', clientId: this._clientId, timestamp: now(), version, ...(resume === false && { resume }) });
  }

  private _received(bytes: string | ArrayBuffer): void {
    const message = parse(bytes);
    const known =
      message &&
      ((message.type === 'connect_confirm' && isText(message.conversationId) && message.clientId === this._clientId) ||
        (message.type === 'response' && isText(message.messageId) && isText(message.content)) ||
        (message.type === 'error' && isText(message.error)) ||
        message.type === 'pong' ||
        message.type === 'reconnect');
    if (!known) return this._log('a message of the server is not valid');
    switch (message.type) {
      case 'connect_confirm':
        return this._confirmed(message.conversationId);
      case 'response':
        return this._responded(message);
      case 'pong':
        this._pongAt = Date.now();
        return;
      case 'reconnect':
        this._hint = Number(message.after_ms) || 0;
        return;
      case 'error':
        this._refused(message.error, message.messageId);
    }
  }

  private _confirmed(conversationId: string): void {
    if (this.phase !== 'PENDING') return;
    clearTimeout(this._confirm);
    this._attempts = 0;
    this._state = { ...this._state, conversationId };
    this._enter('CONFIRMED', null);
    this._pongAt = Date.now();
    this._schedulePing();
    this._settleCallers();
    for (const waiting of this._waiting.values()) this._post(waiting);
  }

  private _schedulePing(): void {
    const { heartbeatInterval = 30_000 } = this._options;
    this._beat = setTimeout(() => {
      if (Date.now() - this._pongAt >= 2 * heartbeatInterval) return this._wire.drop('Heartbeat timeout');
      this._write({ type: 'ping', timestamp: now() });
      this._schedulePing();
    }, heartbeatInterval);
  }

  /** Sends a message under its id, and waits for the response. */
  private _post(waiting: Waiting): void {
    clearTimeout(waiting.timer);
    if (!this._write(waiting.message)) return; // it stays in the queue
    waiting.timer = setTimeout(() => this._expire(waiting), this._options.messageTimeout ?? 30_000);
  }

  private _expire(waiting: Waiting): void {
    if (waiting.expired) {
      return this._end(waiting, () => waiting.reject(new SparkwayError('timeout', 'no response', true)));
    }
    waiting.expired = true;
    this._log('no response in time: reconnecting');
    this._wire.drop('Message timeout');
  }

  private _responded({ messageId, content, timestamp }: ConversationResponse): void {
    const response = { messageId, content: sanitize(content, this._options.maxContent ?? 65_536), timestamp };
    const waiting = this._waiting.get(messageId);
    if (waiting) this._end(waiting, () => waiting.resolve(response));
    else this._unexpected(response);
  }

  private _unexpected(response: ConversationResponse): void {
    this._safely(() => this._options.onResponse?.(response));
  }

  private _refused(error: string, messageId?: string): void {
    const waiting = messageId === undefined ? undefined : this._waiting.get(messageId);
    if (waiting && /rate limit/i.test(error)) {
      clearTimeout(waiting.timer);
      waiting.timer = setTimeout(() => this._post(waiting), LATER_MS);
    } else if (waiting) this._end(waiting, () => waiting.reject(new SparkwayError('refused', error)));
    this._log(error);
    this._enter(this.phase, error);
  }

  private _closed(code: number, reason: string): void {
    this._clear();
    for (const waiting of this._waiting.values()) clearTimeout(waiting.timer);
    const error = reason || this._state.error || `Connection closed (${code})`;
    this._log(error);
    this._enter('DISCONNECTED', error);
    const { maxReconnectAttempts = 5, initialDelay = 1_000, jitter = 0 } = this._options;
    const hint = this._hint;
    this._hint = undefined;
    if (code === 1000 || code === 1008 || code === 4400) return this._settleCallers(new SparkwayError('closed', error));
    if (hint === undefined && this._attempts >= maxReconnectAttempts) {
      this._enter('DISCONNECTED', 'Max reconnection attempts reached');
      return this._settleCallers(new SparkwayError('gave_up', 'Max reconnection attempts reached', true));
    }
    const delay = hint ?? initialDelay * 2 ** this._attempts;
    this._retry = setTimeout(() => {
      if (hint === undefined) this._attempts++;
      this._dial();
    }, delay + Math.random() * jitter);
  }

  private _clear(): void {
    for (const timer of [this._retry, this._confirm, this._beat]) clearTimeout(timer);
    this._retry = undefined;
  }

  private _end(waiting: Waiting, fn: () => void): void {
    clearTimeout(waiting.timer);
    this._waiting.delete(waiting.message.messageId);
    this._keep();
    fn();
  }

  private _keep(): void {
    this._kept.put(() => ({ clientId: this._clientId, messages: [...this._waiting.values()].map(({ message }) => message) }));
  }

  private _settleCallers(error?: SparkwayError): void {
    for (const { resolve, reject } of this._callers.splice(0)) {
      if (error) reject(error);
      else resolve();
    }
  }

  private _write(message: unknown): boolean {
    return this._wire.send(JSON.stringify(message));
  }

  private _enter(phase: Phase, error: string | null): void {
    this.phase = phase;
    const status = phase === 'CONFIRMED' ? 'connected' : phase === 'DISCONNECTED' ? 'disconnected' : 'connecting';
    const before = JSON.stringify(this._state);
    const next = { ...this._state, status, clientId: this._clientId, error } as ConnectionState;
    if (JSON.stringify(next) === before && phase !== 'CONFIRMED') return;
    this._state = next;
    this._safely(() => this._onState(next));
  }

  private _safely(fn: () => void): void {
    try {
      fn();
    } catch (error) {
      (this._options.logger ?? console).error('sparkway: a callback threw', error);
    }
  }

  private _log(text: string): void {
    (this._options.logger ?? console).error(`sparkway: ${text}`);
  }
}

const now = (): string => new Date().toISOString();

const isText = (value: unknown): value is string => typeof value === 'string';

function randomId(): string {
  const part = () => Math.random().toString(36).slice(2, 12);
  return `${part()}-${part()}`;
}

function parse(bytes: string | ArrayBuffer): any {
  try {
    return JSON.parse(bytes as string);
  } catch {
    return undefined;
  }
}

/** Takes out control characters except newline and tab, and cuts to length; no HTML is rewritten. */
function sanitize(text: string, longest: number): string {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '').slice(0, longest);
}
