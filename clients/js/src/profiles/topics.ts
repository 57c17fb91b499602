/**
 * The client library of source 1 (connection lifecycle): states, backoff, subscriptions and cleanup as
 * that document describes them, for the `topics` dialect.
 */
import type { Logger, Off } from '../emitter.js';
import { SparkwayError } from '../errors.js';
import { watchPage } from '../page.js';
import { fetchToken, type TokenSource } from '../token.js';
import { Wire, type SocketConstructor } from '../wire.js';

export { SparkwayError } from '../errors.js';

export enum ConnectionState {
  DISCONNECTED = 'disconnected',
  CONNECTING = 'connecting',
  CONNECTED = 'connected',
  RECONNECTING = 'reconnecting',
  FAILED = 'failed',
}

/** A message of a topic. */
export interface TopicEvent<T = any> {
  topic: string;
  data: T;
  id?: string;
}

export interface TopicsOptions {
  /** A token, or a function that fetches one for each attempt. Without it the `session` cookie counts. */
  token?: TokenSource;
  /** Where the token goes: into the URL as `?token=`, or into a first message `auth`. Default `query`. */
  auth?: 'query' | 'message';
  /** Default 5. */
  maxReconnectAttempts?: number;
  /** The first delay in ms; it doubles with each attempt. Default 1,000. */
  initialDelay?: number;
  /** Uniform in 0 to this many ms is added to each delay. Default 1,000. */
  jitter?: number;
  /** Ms between two pings. Default 30,000. */
  heartbeatInterval?: number;
  /** Until a socket is open, in ms. Default 10,000. */
  connectTimeout?: number;
  /** Ask for what was missed when subscribing again, by the newest id of each topic. Default true. */
  recover?: boolean;
  webSocket?: SocketConstructor;
  logger?: Logger;
  onOpen?(): void;
  onError?(error: unknown): void;
  onClose?(code: number, reason: string): void;
  onStateChange?(previous: ConnectionState, next: ConnectionState): void;
  onMaxReconnectAttempts?(): void;
  onEvent?(event: TopicEvent): void;
  /** Topics that the server refused. */
  onRejected?(rejected: { topic: string; code: string }[]): void;
  /** Something of a topic was missed and is gone. */
  onLoss?(topic: string): void;
}

interface Waiting {
  resolve(id: string): void;
  reject(error: SparkwayError): void;
}

/** Topics in one subscribe request. */
const PER_REQUEST = 100;

/** A connection that subscribes to topics and finds its way back. */
export class WebSocketClient {
  private _state = ConnectionState.DISCONNECTED;
  private _topics = new Set<string>();
  private _newest = new Map<string, string>();
  private _waiting = new Map<string, Waiting>();
  private _attempts = 0;
  private _retrying = false;
  private _hint?: number;
  private _wire: Wire;
  private _retry?: ReturnType<typeof setTimeout>;
  private _beat?: ReturnType<typeof setInterval>;
  private _turn = 0;
  private _serial = 0;
  private _prefix = Math.random().toString(36).slice(2);
  private _unwatch?: Off;

  constructor(
    private _url: string,
    private _options: TopicsOptions = {},
  ) {
    this._wire = new Wire(
      {
        opened: () => void this._opened(),
        received: (bytes) => this._received(bytes),
        closed: (code, reason) => this._closed(code, reason),
        failed: (error) => this._tell('onError', error),
      },
      _options.webSocket,
    );
  }

  get state(): ConnectionState {
    return this._state;
  }

  /** What is subscribed on the present connection and again on each later one. */
  get subscribedTopics(): readonly string[] {
    return [...this._topics];
  }

  /** Opens a connection; also the way out of `failed`. */
  connect(): void {
    this._attempts = 0;
    this._retrying = false;
    this._unwatch ??= watchPage({ wake: () => this._wake(), hide: () => {}, show: () => this._wake() });
    void this._dial();
  }

  /** Closes with 1000 and stays away. */
  disconnect(): void {
    this._leave('Client disconnect');
  }

  /** Cleanup on unmount: unsubscribes, closes with 1000, clears all timers. */
  dispose(): void {
    if (this._wire._isOpen && this._topics.size) this._send({ type: 'unsubscribe', topics: [...this._topics] });
    this._topics.clear();
    this._leave('Component unmounted');
  }

  subscribe(topics: string[]): void {
    for (const topic of topics) this._topics.add(topic);
    this._send({ type: 'subscribe', topics });
  }

  unsubscribe(topics: string[]): void {
    for (const topic of topics) {
      this._topics.delete(topic);
      this._newest.delete(topic);
    }
    this._send({ type: 'unsubscribe', topics });
  }

  /** Publishes while connected; resolves with the message's id. The same `messageId` is stored once. */
  publish(topic: string, data: unknown, messageId = `${this._prefix}-${++this._serial}`): Promise<string> {
    return new Promise((resolve, reject) => {
      if (!this._send({ type: 'publish', topic, data, messageId })) reject(new SparkwayError('offline', 'no connection', true));
      else this._waiting.set(messageId, { resolve, reject });
    });
  }

  private _leave(reason: string): void {
    this._stop();
    this._wire.close(1000, reason);
    this._enter(ConnectionState.DISCONNECTED);
    this._unwatch?.();
    this._unwatch = undefined;
  }

  /** Clears the timers, and gives up what waits for an answer. */
  private _stop(): void {
    this._turn++;
    clearTimeout(this._retry);
    clearInterval(this._beat);
    this._retry = undefined;
    for (const [id, { reject }] of this._waiting) {
      this._waiting.delete(id);
      reject(new SparkwayError('disconnected', 'the connection was lost before the answer', true));
    }
  }

  private async _dial(): Promise<void> {
    this._stop();
    this._enter(ConnectionState.CONNECTING);
    const { token, auth = 'query', connectTimeout = 10_000 } = this._options;
    const turn = this._turn;
    try {
      const fetched = auth === 'query' && token ? await fetchToken(token, 'initial', new AbortController().signal) : undefined;
      if (turn !== this._turn) return;
      const query = fetched ? `${this._url.includes('?') ? '&' : '?'}token=${encodeURIComponent(fetched)}` : '';
      this._wire.open(this._url + query, undefined, connectTimeout);
    } catch (error) {
      if (turn !== this._turn) return;
      this._tell('onError', error);
      this._closed(1006, 'no token');
    }
  }

  private async _opened(): Promise<void> {
    const turn = this._turn;
    if (this._options.auth === 'message') {
      await this._authenticate();
      if (turn !== this._turn || !this._wire._isOpen) return;
    }
    this._attempts = 0;
    if (this._retrying) this._enter(ConnectionState.RECONNECTING);
    this._retrying = false;
    this._enter(ConnectionState.CONNECTED);
    this._beat = setInterval(() => this._send({ type: 'ping' }), this._options.heartbeatInterval ?? 30_000);
    const topics = [...this._topics];
    for (let at = 0; at < topics.length; at += PER_REQUEST) this._subscribeAgain(topics.slice(at, at + PER_REQUEST));
    this._tell('onOpen');
  }

  private async _authenticate(): Promise<void> {
    try {
      const token = await fetchToken(this._options.token, 'initial', new AbortController().signal);
      this._send({ type: 'auth', token });
    } catch (error) {
      this._tell('onError', error);
      this._wire.drop('no token');
    }
  }

  private _subscribeAgain(topics: string[]): void {
    const known = topics.filter((topic) => this._newest.has(topic));
    const since = Object.fromEntries(known.map((topic) => [topic, this._newest.get(topic)]));
    const recover = known.length > 0 && this._options.recover !== false;
    this._send({ type: 'subscribe', topics, ...(recover && { since }) });
  }

  private _received(bytes: string | ArrayBuffer): void {
    let message: any;
    try {
      message = JSON.parse(bytes as string);
    } catch (error) {
      return this._tell('onError', error);
    }
    const { type, topic, id, messageId } = message ?? {};
    if (type === 'event') {
      const newest = this._newest.get(topic);
      if (id && newest && Number(id) <= Number(newest)) return; // replayed twice
      if (id) this._newest.set(topic, id);
      this._tell('onEvent', { topic, data: message.data, id });
    } else if (message?.published !== undefined) {
      this._waiting.get(messageId)?.resolve(message.published);
      this._waiting.delete(messageId);
    } else if (type === 'reconnect') this._hint = message.after_ms;
    else if (type === 'token_expiring') void this._authenticate();
    else if (type === 'error') this._refused(message);
    else if (message?.subscribed) this._subscribed(message);
  }

  private _subscribed({ recovered = {}, rejected = [] }: any): void {
    for (const [topic, complete] of Object.entries(recovered)) if (complete === false) this._tell('onLoss', topic);
    if (rejected.length) this._tell('onRejected', rejected);
  }

  private _refused({ error, messageId }: any): void {
    const failure = new SparkwayError('refused', String(error));
    const waiting = this._waiting.get(messageId);
    this._waiting.delete(messageId);
    if (waiting) waiting.reject(failure);
    else this._tell('onError', failure);
  }

  private _closed(code: number, reason: string): void {
    this._stop();
    const done = code === 1000 || code === 1008;
    this._enter(code === 1008 ? ConnectionState.FAILED : ConnectionState.DISCONNECTED);
    this._tell('onClose', code, reason);
    if (!done && this._state === ConnectionState.DISCONNECTED) this._reconnect();
  }

  private _reconnect(): void {
    const { maxReconnectAttempts = 5, initialDelay = 1_000, jitter = 1_000 } = this._options;
    const hint = this._hint;
    this._hint = undefined;
    if (hint === undefined && this._attempts >= maxReconnectAttempts) {
      this._enter(ConnectionState.FAILED);
      return this._tell('onMaxReconnectAttempts');
    }
    this._enter(ConnectionState.RECONNECTING);
    const delay = hint ?? initialDelay * 2 ** this._attempts;
    this._retry = setTimeout(() => {
      if (hint === undefined) this._attempts++; // where the server asked for it, it is no failure
      this._retrying = true;
      void this._dial();
    }, delay + Math.random() * jitter);
  }

  /** The network is back or the page is shown: the wait is over. */
  private _wake(): void {
    if (this._retry === undefined) return;
    this._attempts++;
    this._retrying = true;
    void this._dial();
  }

  private _send(message: unknown): boolean {
    return this._wire.send(JSON.stringify(message));
  }

  private _enter(next: ConnectionState): void {
    const previous = this._state;
    if (previous === next) return;
    this._state = next;
    this._tell('onStateChange', previous, next);
  }

  /** Calls a callback; one that throws is reported and never reaches the socket. */
  private _tell(name: keyof TopicsOptions, ...parts: unknown[]): void {
    try {
      (this._options[name] as ((...parts: unknown[]) => void) | undefined)?.(...parts);
    } catch (error) {
      (this._options.logger ?? console).error('sparkway: a callback threw', error);
    }
  }
}
