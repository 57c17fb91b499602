import { Calls } from './calls.js';
import { json, payload, type Codec, type Frame } from './codec.js';
import { Connection } from './connection.js';
import type { How } from './contract.js';
import { Cursor } from './cursor.js';
import { Emitter, onAbort, type Logger, type Off } from './emitter.js';
import { refusal, SparkwayError } from './errors.js';
import { Keeper } from './keeper.js';
import type { SparkwayEvents, SparkwayOptions, Status } from './options.js';
import { Outbox, type Published } from './outbox.js';
import { watchPage } from './page.js';
import { tabStore, type Kept } from './saved.js';
import { Subscriptions } from './subscriptions.js';
import { Timers } from './timers.js';
import type { HistoryOptions, HistoryPage, Loss, Presence, PublishOptions, Topic, TopicOptions } from './topic.js';

const ACK_AFTER_MS = 1_000;
const ACK_AFTER_MESSAGES = 256;
const SAVE_AFTER_MS = 1_000;

/** One session with a Sparkway cluster, kept over as many sockets as it takes. */
export class Sparkway {
  /** @internal */ readonly _logger?: Logger;
  private _emitter: Emitter<SparkwayEvents>;
  private _connection: Connection;
  private _outbox: Outbox;
  private _calls = new Calls();
  private _subscriptions: Subscriptions;
  private _cursor = new Cursor();
  private _inbox = new Map<string, number>();
  private _keeper: Keeper;
  private _codec: Codec;
  private _requestTimeout: number;
  private _snapshot!: Status;
  private _error?: SparkwayError;
  private _ended = false;
  private _flushing = false;
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
    this._connection = new Connection({ url, codec: this._codec, cursor: this._cursor, token, reconnect, timeouts, webSocket, trace }, this);
    this._outbox = new Outbox({ messages: 1_000, bytes: 1 << 20, age: 300_000, overflow: 'reject', inFlight: 1, ...bounds }, this);
    this._subscriptions = new Subscriptions(this);
    this._keeper = new Keeper(persist === 'tab' ? tabStore() : persist === 'none' ? undefined : persist, store, `sparkway:${key}`, {
      connection: this._connection,
      cursor: this._cursor,
      outbox: this._outbox,
      subscriptions: this._subscriptions,
      protocol: this._codec.protocol,
      failed: (error) => this._failed(error),
    });
    this._keeper._restore();
    this._changed();
    this._unwatch = watchPage({
      wake: () => this._connection._nudge(),
      hide: (frozen) => this._keeper._hide(frozen),
      show: () => this._keeper._show(),
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
      const done = new AbortController();
      let off: Off = () => {};
      const look = () => {
        const { state, error } = this._snapshot;
        if (signal?.aborted) reject(signal.reason);
        else if (state === 'closed') reject(error ?? closed());
        else if (state === 'online') resolve();
        else return;
        off();
        done.abort();
      };
      this.on('status', look, done);
      off = onAbort(signal, look);
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
    this._keeper._end();
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
        if (result) resolve(result);
        else reject(error);
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
  _positionOf(topic: string): Kept<string> {
    return this._keeper._positionOf(topic);
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
    const connection = this._connection;
    this._calls.flush((frame) => connection.send(frame, true));
    this._outbox.flush(
      (bytes) => connection._sendBytes(bytes, true),
      connection._maxBytes,
      (topic) => this._subscriptions.pending(topic),
    );
  }

  /** @internal */
  _awaits(): boolean {
    return this._outbox.size + this._calls.size > 0;
  }

  /** @internal */
  _online(how: How, welcome: any): void {
    if (how === 'resumed') this._subscriptions._resumed(welcome);
    else {
      this._cursor.reset(welcome.last_message_id);
      this._cursor.news();
      if (how === 'lost') for (const [topic, after] of this._inbox) this._lost({ topic, reason: 'session_lost', after: String(after) });
      this._inbox.clear();
    }
    this._flushNow();
    if (how !== 'new') {
      const { session, node } = this._connection;
      this._emitter.emit('resume', { recovered: how === 'resumed', sessionId: session!.id, node, replayCount: welcome.replay_count ?? 0 });
    }
    this._keeper._soon(0);
  }

  /** @internal */
  _offline(): void {
    this._dropAcks();
    this._calls._offline();
    this._outbox._offline();
    this._subscriptions._offline();
  }

  /** @internal */
  _sessionLost(): void {
    this._outbox._sessionLost();
    this._subscriptions._sessionLost();
    this._keeper._forget();
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
        return void this._settle(data.ackId, data.result ?? {});
      case 'ws:error':
        const error = refusal(data);
        if (!this._settle(data.ackId, undefined, error)) this._failed(error);
        return;
      case 'ws:replay_done':
        return this._subscriptions._replayed();
      case 'topic:gap':
        return this._subscriptions.gap(topic, data);
      case 'topic:join':
      case 'topic:leave':
        this._subscriptions._member(topic, type.slice(6) as 'join' | 'leave', data);
    }
  }

  private _settle(id: string, result: any, error?: SparkwayError): boolean {
    return this._calls._settle(id, result, error) || this._outbox._settle(id, result, error);
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
    this._keeper._soon(SAVE_AFTER_MS);
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
    for (const ackId of this._cursor.news()) this._connection.send({ type: 'ws:ack', data: { ackId } });
  }

  /** @internal */
  _renewed(token: string): void {
    this._call(
      'ws:refresh',
      { token },
      (result) => {
        this._connection._renewBefore(result.expires_at && Number(result.expires_at));
        this._subscriptions._dropped(result.dropped_topics);
      },
      (error) => this._failed(error),
    );
    this._flush();
  }

  /** @internal */
  _changed(): void {
    const { state, attempt, _retryAt: nextRetryAt, session, node, user, rtt, lastClose } = this._connection;
    const since = state === this._snapshot?.state ? this._snapshot.since : Date.now();
    const pending = this._outbox.size > 0;
    const error = this._error;
    this._snapshot = Object.freeze({ state, since, attempt, nextRetryAt, sessionId: session?.id, node, user, rtt, pending, lastClose, error });
    this._emitter.emit('status', this._snapshot);
  }

  /** @internal */
  _queued(): void {
    if (this._snapshot?.pending === !this._outbox.size) this._changed();
    this._keeper?._soon(0);
  }
}

function closed(): SparkwayError {
  return new SparkwayError('closed', 'the client was closed');
}
