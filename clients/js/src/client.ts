import type { Backoff } from './backoff.js';
import { Calls } from './calls.js';
import { json, payload, type Codec, type Frame } from './codec.js';
import { Connection, type Close, type How, type State } from './connection.js';
import { Cursor } from './cursor.js';
import { Emitter, onAbort, type Logger, type Off } from './emitter.js';
import { refusal, SparkwayError } from './errors.js';
import { Outbox, type Published, type QueueSettings } from './outbox.js';
import { isPage, watchPage } from './page.js';
import { Kept, tabStore, type SavedQueue, type SavedSession, type Store } from './saved.js';
import { Timers } from './timers.js';
import { Subscriptions } from './subscriptions.js';
import type { TokenSource } from './token.js';
import type { HistoryOptions, HistoryPage, Loss, Message, Presence, PublishOptions, Topic, TopicOptions } from './topic.js';
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

const ACK_AFTER_MS = 1_000;
const ACK_AFTER_MESSAGES = 256;
const SAVE_AFTER_MS = 1_000;

/** One session with a Sparkway cluster, kept over as many sockets as it takes. */
export class Sparkway {
  /** @internal */ readonly _logger?: Logger;
  private _emitter: Emitter<SparkwayEvents>;
  private _connection: Connection;
  private _outbox: Outbox;
  private _calls: Calls;
  private _subscriptions: Subscriptions;
  private _cursor = new Cursor();
  private _acked = new Set<string>();
  private _inbox = new Map<string, number>();
  private _store?: Store;
  private _key: string;
  private _keptSession: Kept<SavedSession>;
  private _keptQueue: Kept<SavedQueue>;
  private _codec: Codec;
  private _requestTimeout: number;
  private _snapshot!: Status;
  private _error?: SparkwayError;
  private _ended = false;
  private _flushing = false;
  private _saving = false;
  private _unacked = 0;
  private _timers = new Timers();
  private _serial = 0;
  private _prefix = Math.random().toString(36).slice(2, 10);
  private _unwatch: Off;

  /**
   * @param url One address, several (any node will do; each attempt takes the next), or a function of the
   * attempt's number.
   */
  constructor(url: string | string[] | ((attempt: number) => string | Promise<string>), options: SparkwayOptions = {}) {
    const { encoding = 'json', queue = {}, session: { persist = 'tab', key = url } = {}, token, reconnect = {}, webSocket, trace } = options;
    const { store, ...bounds } = queue;
    const timeouts = { connect: 5_000, ack: 10_000, request: 30_000, ...options.timeouts };
    this._requestTimeout = timeouts.request;
    this._logger = options.logger;
    this._emitter = new Emitter(options.logger);
    this._codec = encoding === 'json' ? json : encoding;
    this._store = persist === 'tab' ? tabStore() : persist === 'none' ? undefined : persist;
    this._key = `sparkway:${key}`;
    this._keptSession = new Kept(this._store, this._key);
    this._keptQueue = new Kept(store, `${this._key}:queue`);
    this._connection = new Connection({ url, codec: this._codec, token, reconnect, timeouts, webSocket, trace }, this);
    this._outbox = new Outbox({ messages: 1_000, bytes: 1 << 20, age: 300_000, overflow: 'reject', inFlight: 1, ...bounds }, this);
    this._calls = new Calls((frame) => this._isOnline && this._connection.send(frame, true));
    this._subscriptions = new Subscriptions(this);
    this._restore();
    this._changed();
    this._unwatch = watchPage({
      wake: () => this._connection.nudge(),
      hide: (frozen) => this._hide(frozen),
      show: () => this._show(),
    });
  }

  /** The present picture; the same object until something changes. */
  get status(): Status {
    return this._snapshot;
  }

  /** Publishes that wait for an answer. */
  get queued(): number {
    return this._outbox.size;
  }

  /** Adds a listener; the result, or the signal, takes it off. */
  on<K extends keyof SparkwayEvents>(type: K, fn: (event: SparkwayEvents[K]) => void, options?: { signal?: AbortSignal }): Off {
    return this._emitter.on(type, fn, options);
  }

  /** Starts connecting. Does nothing while it runs; throws after `close`. */
  connect(): void {
    if (this._ended) throw closed();
    this._error = undefined;
    this._connection.start();
  }

  /** Resolves when online; rejects when the client stops or the signal aborts. */
  ready({ signal }: { signal?: AbortSignal } = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      const offs: Off[] = [];
      const look = () => {
        const { state, error } = this._snapshot;
        if (signal?.aborted) reject(signal.reason);
        else if (state === 'closed') reject(error ?? closed());
        else if (state === 'online') resolve();
        else return;
        for (const off of offs.splice(0)) off();
      };
      offs.push(this.on('status', look), onAbort(signal, look));
      look();
    });
  }

  /** Leaves without ending the session: `connect` takes it up again, within the server's window. */
  disconnect(): void {
    if (this._snapshot.state === 'closed') return;
    this._sendAcks();
    if (this._isOnline) this._offline();
    this._connection.leave(false, 'idle');
  }

  /** Ends the session for good. What still waits fails with `closed`. */
  async close(): Promise<void> {
    if (this._ended) return;
    this._ended = true;
    this._sendAcks();
    this._connection.leave(true, 'closed');
    this._unwatch();
    this._stopAll(closed());
    this._subscriptions.stop();
    this._timers.clearAll();
    this._keptSession.clear();
    this._keptQueue.clear();
  }

  /** Joins a topic. Every call is one more use of it: give it back with `leave`. */
  topic<T = any>(name: string, options: TopicOptions = {}): Topic<T> {
    if (this._ended) throw closed();
    return this._subscriptions.join(name, options) as Topic<T>;
  }

  /**
   * Publishes; resolves when the server has stored it, once, however often the connection broke. While
   * there is none it waits in the queue.
   * @throws SparkwayError, or the reason of an aborted signal (it may be stored then).
   */
  async publish(topic: string, data: unknown, options: PublishOptions = {}): Promise<Published> {
    const { id = this._nextId(), ephemeral, durability, excludeSelf, volatile = ephemeral, signal, timeout } = options;
    if (this._ended) throw closed();
    if (volatile && !this._isOnline) throw new SparkwayError('offline', 'no connection', true);
    const frame: Frame = { type: 'topic:publish', id, topic, data: data ?? null, ephemeral, durability, exclude_self: excludeSelf };
    const promise = this._outbox.add({ id, topic, body: this._codec.encode(frame), volatile }, timeout, signal);
    this._flush();
    return promise;
  }

  /** Calls a method of the application's backend. Not repeated: `disconnected` when the answer is lost. */
  request<T = any>(method: string, params?: unknown, options: { signal?: AbortSignal; timeout?: number } = {}): Promise<T> {
    return this._ask<Frame>('rpc:call', { method, params }, options, false).then((answer) => payload(answer.result, answer));
  }

  /** Reads a page of a topic's log. */
  async history<T = any>(topic: string, { signal, limit = 100, ...rest }: HistoryOptions = {}): Promise<HistoryPage<T>> {
    const { messages = [], complete } = await this._ask<any>('topic:history', { topic, limit, ...rest }, { signal });
    return {
      messages: messages.map((m: Frame) => ({ id: m.id, topic, data: payload(m.data, m), from: m.from, at: m.ts, replayed: true })),
      complete: !!complete,
    };
  }

  /** Asks who is in a topic. */
  presence(topic: string, options: { signal?: AbortSignal } = {}): Promise<Presence> {
    return this._ask('topic:presence', { topic }, options);
  }

  /** Fetches a token now and hands it to the server. */
  refreshToken(): Promise<void> {
    return this._connection.refresh();
  }

  private _ask<T>(type: string, data: unknown, options: { signal?: AbortSignal; timeout?: number }, repeat = true): Promise<T> {
    const { signal, timeout = this._requestTimeout } = options;
    return new Promise((resolve, reject) => {
      const end = (error?: unknown, result?: any) => {
        this._timers.clear(id);
        off();
        this._calls.remove(id);
        if (error) reject(error);
        else resolve(result);
      };
      let off = () => {};
      const id = this._call(type, data, (result) => end(undefined, result), end, repeat);
      if (this._ended) return end(closed());
      this._timers.set(id, timeout, () => end(new SparkwayError('timeout', `no answer to ${type}`, true)));
      off = onAbort(signal, () => end(signal!.reason));
      this._flush();
    });
  }

  /** @internal */
  _call(type: string, data: any, done: (result: any) => void, failed: (error: SparkwayError) => void, repeat = false): string {
    const id = this._nextId();
    this._calls.add({ frame: { type, id, data }, repeat, done, failed });
    return id;
  }

  /** @internal */
  _savePosition(topic: string, id: string): void {
    new Kept(this._store, `${this._key}:at:${topic}`).put(() => id);
  }

  /** @internal */
  _savedPosition(topic: string): string | undefined {
    return new Kept<string>(this._store, `${this._key}:at:${topic}`).peek();
  }

  /** @internal */
  _lost(loss: Loss): void {
    this._emitter.emit('loss', loss);
  }

  /** @internal */
  _left(topic: Topic): void {
    this._subscriptions.left(topic);
  }

  private get _isOnline(): boolean {
    return this._connection.state === 'online';
  }

  private _nextId(): string {
    return `${this._prefix}-${++this._serial}`;
  }

  /** @internal Sends what waits, once per turn of the event loop. */
  _flush(): void {
    if (this._flushing || !this._isOnline) return;
    this._flushing = true;
    queueMicrotask(() => {
      this._flushing = false;
      this._flushNow();
    });
  }

  /** Subscriptions first, then requests, then publishes. */
  private _flushNow(): void {
    if (!this._isOnline) return;
    this._subscriptions.sync();
    this._calls.flush();
    this._outbox.flush();
  }

  /** @internal */
  _send(bytes: string | Uint8Array): boolean {
    return this._isOnline && this._connection.sendBytes(bytes, true);
  }

  /** @internal */
  _limit(): number {
    return this._connection.maxBytes;
  }

  /** @internal */
  _blocked(topic: string): boolean {
    return this._subscriptions.pending(topic);
  }

  /** @internal */
  _position(): string | string[] {
    return this._cursor.wire();
  }

  /** @internal */
  _awaits(): boolean {
    return this._outbox.size + this._calls.size > 0;
  }

  /** @internal */
  _online(how: How, welcome: any): void {
    if (how === 'resumed') this._subscriptions.resumed(welcome);
    else {
      this._cursor.reset(welcome.last_message_id);
      this._acked = new Set(this._cursor.ids());
      if (how === 'lost') for (const [topic, after] of this._inbox) this._lost({ topic, reason: 'session_lost', after: String(after) });
      this._inbox.clear();
    }
    this._flushNow();
    if (how !== 'new') {
      const { session, node } = this._connection;
      this._emitter.emit('resume', { recovered: how === 'resumed', sessionId: session!.id, node, replayCount: welcome.replay_count ?? 0 });
    }
    this._touch();
  }

  /** @internal */
  _offline(): void {
    this._dropAcks();
    this._calls.offline();
    this._outbox.offline();
    this._subscriptions.offline();
  }

  /** @internal */
  _sessionLost(): void {
    this._outbox.sessionLost();
    this._subscriptions.sessionLost();
    this._keptSession.clear();
  }

  /** @internal */
  _stopped(error: SparkwayError): void {
    this._error = error;
    this._stopAll(error);
    this._changed();
    this._failed(error);
  }

  /** @internal */
  _failed(error: SparkwayError): void {
    this._emitter.emit('error', error);
  }

  private _stopAll(error: SparkwayError): void {
    this._dropAcks();
    this._calls.stop(error);
    this._outbox.stop(error);
  }

  /** @internal */
  _frame(frame: Frame): void {
    const { type, topic = '' } = frame;
    const data = frame.data ?? {};
    switch (type) {
      case 'topic:message':
        return this._message(frame);
      case 'ws:ack':
        return void this._settle(data.ackId, data.result);
      case 'ws:error':
        const error = refusal(data);
        if (!this._settle(data.ackId, undefined, error)) this._failed(error);
        return;
      case 'ws:replay_done':
        return this._subscriptions.replayed();
      case 'topic:gap':
        return this._subscriptions.gap(topic, data);
      case 'topic:join':
      case 'topic:leave':
        this._subscriptions.member(topic, type.slice(6) as 'join' | 'leave', data);
    }
  }

  private _settle(id: string, result: any, error?: SparkwayError): boolean {
    return this._calls.settle(id, result, error) || this._outbox.settle(id, result, error);
  }

  private _message(frame: Frame): void {
    const { topic = '' } = frame;
    const id = Number(frame.id);
    const { message, fresh, known, caughtUp } = this._subscriptions.message(frame);
    const own = !known && topic[0] === '$'; // the gateway's own topics need no subscription
    if (fresh || (own && !(id <= this._inbox.get(topic)!))) {
      if (own && id) this._inbox.set(topic, id);
      this._emitter.emit('message', message);
    }
    if (!id) return;
    if (caughtUp) this._cursor.see(id);
    this._timers.once('save', SAVE_AFTER_MS, () => this._touch());
    if (++this._unacked >= ACK_AFTER_MESSAGES) this._sendAcks();
    else this._timers.once('ack', ACK_AFTER_MS, () => this._sendAcks());
  }

  private _dropAcks(): void {
    this._timers.clear('ack');
    this._unacked = 0;
  }

  /** One ack per partition names everything up to it. */
  private _sendAcks(): void {
    this._dropAcks();
    if (!this._isOnline) return;
    const ids = this._cursor.ids();
    for (const ackId of ids) if (!this._acked.has(ackId)) this._connection.send({ type: 'ws:ack', data: { ackId } });
    this._acked = new Set(ids);
  }

  /** @internal */
  _renewed(token: string): void {
    this._call(
      'ws:refresh',
      { token },
      (result) => {
        this._connection.renewBefore(result.expires_at && Number(result.expires_at));
        this._subscriptions.withdrawn(result.dropped_topics ?? []);
      },
      (error) => this._failed(error),
    );
    this._flush();
  }

  /** @internal */
  _changed(): void {
    const { state, attempt, retryAt, session, node, user, rtt, lastClose } = this._connection;
    const since = state === this._snapshot?.state ? this._snapshot.since : Date.now();
    const pending = this._outbox.size > 0;
    const error = this._error;
    this._snapshot = Object.freeze({ state, since, attempt, nextRetryAt: retryAt, sessionId: session?.id, node, user, rtt, pending, lastClose, error });
    this._emitter.emit('status', this._snapshot);
  }

  /** @internal */
  _queued(): void {
    if (this._snapshot?.pending === !this._outbox.size) this._changed();
    this._touch();
  }

  /** Without page events (Node, workers) what is to outlive the process is written as it changes. */
  private _touch(): void {
    this._timers.clear('save');
    if (this._saving || isPage()) return;
    this._saving = true;
    queueMicrotask(() => {
      this._saving = false;
      this._save();
    });
  }

  private _save(): void {
    if (this._ended) return;
    const { session } = this._connection;
    if (session) this._keptSession.put(() => ({ session, cursor: this._cursor.ids(), topics: this._subscriptions.save() }));
    if (this._outbox.size) this._keptQueue.put(() => ({ session: session?.id, protocol: this._codec.protocol, items: this._outbox.save() }));
    else this._keptQueue.clear();
  }

  private _restore(): void {
    const kept = this._keptSession.take();
    if (kept?.session) {
      this._connection.session = kept.session;
      this._cursor.reset(kept.cursor);
      this._subscriptions.restore(kept.topics);
    }
    const queue = this._keptQueue.take();
    if (queue?.protocol !== this._codec.protocol) return;
    this._outbox.restore(queue.items, (id, cause) =>
      this._failed(new SparkwayError(cause.code, `publish ${id}: ${cause.message}`, false, undefined, cause)),
    );
    if (queue.session !== kept?.session?.id) this._outbox.sessionLost();
  }

  private _hide(frozen: boolean): void {
    this._save();
    if (frozen) this._connection.drop('page hidden');
  }

  private _show(): void {
    const kept = this._keptSession.take();
    this._keptQueue.clear();
    const { session } = this._connection;
    // A later page of this tab may have used the session meanwhile: its token is the newer one.
    if (kept && session && kept.session.id === session.id) session.token = kept.session.token;
    this._connection.nudge();
  }
}

function closed(): SparkwayError {
  return new SparkwayError('closed', 'the client was closed');
}
