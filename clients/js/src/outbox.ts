import { fromBase64, toBase64 } from './codec.js';
import { onAbort } from './emitter.js';
import { SparkwayError } from './errors.js';

/** What became of a publish. */
export interface Published {
  /** Id of the stored message; undefined for an ephemeral one. */
  id?: string;
  /** The server had it already: an earlier try had arrived. */
  duplicate: boolean;
}

/** Bounds of what waits for an answer. */
export interface QueueSettings {
  /** Most publishes that wait. Default 1,000. */
  messages: number;
  /** Most encoded bytes that wait. Default 1 MiB. */
  bytes: number;
  /** How long a publish may wait, in ms. Default 300,000. */
  age: number;
  /** Who yields when the queue is full: the new publish, or the oldest that was never sent. Default `reject`. */
  overflow: 'reject' | 'drop_oldest';
}

/** A publish as it is kept across a page reload. */
export interface SavedPublish {
  id: string;
  body: string;
  binary: boolean;
  maybe: boolean;
  expires: number;
}

interface Item {
  id: string;
  body: string | Uint8Array;
  size: number;
  expires: number;
  /** Sent on the present connection. */
  sent: boolean;
  /** Sent at least once in this session, so it may be stored. */
  maybe: boolean;
  volatile?: boolean;
  promise: Promise<Published>;
  end(error?: unknown, result?: Published): void;
}

/** How one publish is to be treated. */
export interface Parcel {
  id: string;
  body: string | Uint8Array;
  timeout?: number;
  signal?: AbortSignal;
  volatile?: boolean;
}

/** What the outbox needs of the client. */
export interface Courier {
  _send(bytes: string | Uint8Array): boolean;
  /** Largest frame in bytes. */
  _limit(): number;
  /** Something waits, or no longer does. */
  _queued(): void;
}

/** The server takes 256 at once; fewer keep its answers quick. */
const WINDOW = 64;

/**
 * Publishes until they are answered, in order, each under one id. Across connections of one session an
 * id is stored once however often it is sent, so what has no answer is simply sent again.
 */
export class Outbox {
  private _items = new Map<string, Item>();
  private _bytes = 0;
  private _inFlight = 0;
  private _window = WINDOW;
  private _refusals = 0;
  private _hold?: ReturnType<typeof setTimeout>;

  constructor(
    private _settings: QueueSettings,
    private _courier: Courier,
  ) {}

  get size(): number {
    return this._items.size;
  }

  /** Whether answers are awaited. */
  get awaits(): boolean {
    return this._inFlight > 0;
  }

  /** Queues a publish. An id that waits already gives the same promise. */
  add({ id, body, timeout = this._settings.age, signal, volatile }: Parcel): Promise<Published> {
    const known = this._items.get(id);
    if (known) return known.promise;
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (!this._makeRoom(body.length)) {
      return Promise.reject(new SparkwayError('queue_full', `${this.size} publishes wait already`, true));
    }
    return this._insert({ id, body, expires: Date.now() + timeout, maybe: false, volatile }, signal).promise;
  }

  private _insert(given: Pick<Item, 'id' | 'body' | 'expires' | 'maybe' | 'volatile'>, signal?: AbortSignal): Item {
    const item = { ...given, size: given.body.length, sent: false } as Item;
    item.promise = new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => item.end(new SparkwayError('timeout', 'no answer in time; it may be stored if it was sent', true)),
        item.expires - Date.now(),
      );
      item.end = (error, result) => {
        if (!this._items.delete(item.id)) return;
        clearTimeout(timer);
        off();
        this._bytes -= item.size;
        if (item.sent) this._inFlight--;
        if (error) reject(error);
        else resolve(result!);
        this._courier._queued();
      };
    });
    this._items.set(item.id, item);
    this._bytes += item.size;
    let off = () => {};
    off = onAbort(signal, () => item.end(signal!.reason));
    this._courier._queued();
    return item;
  }

  private _makeRoom(size: number): boolean {
    const { messages, bytes, overflow } = this._settings;
    const full = () => this.size >= messages || this._bytes + size > bytes;
    if (overflow !== 'reject') {
      for (const item of [...this._items.values()]) {
        if (!full()) break;
        if (!item.maybe) item.end(new SparkwayError('queue_full', 'a newer publish took the place', true));
      }
    }
    return !full();
  }

  /** Sends what may be sent now. */
  flush(): void {
    let waiting = false;
    for (const item of [...this._items.values()]) {
      if (item.sent) continue;
      waiting = true;
      if (this._hold || this._inFlight >= this._window) break;
      if (this._tooLarge(item)) item.end(new SparkwayError('too_large', `more than ${this._courier._limit()} bytes`));
      else if (this._courier._send(item.body)) {
        item.sent = item.maybe = true;
        this._inFlight++;
      } else break;
    }
    if (!waiting) this._window = WINDOW;
  }

  private _tooLarge({ body, size }: Item): boolean {
    const limit = this._courier._limit();
    return size * 3 > limit && (typeof body === 'string' ? new TextEncoder().encode(body).length : size) > limit;
  }

  /** The answer to `id`; false when it is not one of ours. */
  settle(id: string, result: any, error?: SparkwayError): boolean {
    const item = this._items.get(id);
    if (!item) return false;
    if (error?.retryable && !item.volatile) {
      this._slowDown(error.retryAfter);
      if (item.sent) this._inFlight--;
      item.sent = false;
    } else {
      this._refusals = 0;
      item.end(error, { id: result?.id ?? undefined, duplicate: !!result?.duplicate });
      this.flush();
    }
    return true;
  }

  /** Refused for now: wait, then one at a time, so that the order stays as it is. */
  private _slowDown(after?: number): void {
    const delay = after ?? Math.min(500 * 2 ** this._refusals, 10_000);
    this._refusals++;
    this._window = 1;
    clearTimeout(this._hold);
    this._hold = setTimeout(() => this._release(), delay + Math.random() * 100);
  }

  private _release(): void {
    clearTimeout(this._hold);
    this._hold = undefined;
    this.flush();
  }

  /** The link is gone: what was sent will be sent again, in the same order. */
  offline(): void {
    for (const item of [...this._items.values()]) {
      if (item.volatile) item.end(new SparkwayError('disconnected', 'the connection was lost before the answer', true));
      item.sent = false;
    }
    this._inFlight = 0;
    clearTimeout(this._hold);
    this._hold = undefined;
  }

  /** The server no longer knows which ids it has stored: what may be stored cannot be sent again. */
  sessionLost(): void {
    for (const item of [...this._items.values()]) {
      if (item.maybe) item.end(new SparkwayError('session_lost', 'the session ended before the answer: it may be stored or not'));
    }
  }

  /** Everything fails. */
  stop(error: unknown): void {
    clearTimeout(this._hold);
    this._hold = undefined;
    for (const item of [...this._items.values()]) item.end(error);
  }

  /** What to keep across a reload. */
  save(): SavedPublish[] {
    return [...this._items.values()]
      .filter((item) => !item.volatile)
      .map(({ id, body, maybe, expires }) => {
        const binary = typeof body !== 'string';
        return { id, body: binary ? toBase64(body) : body, binary, maybe, expires };
      });
  }

  /** Takes up what an earlier page left; nobody waits for it, so failures go to `failed`. */
  restore(saved: SavedPublish[], failed: (id: string, error: unknown) => void): void {
    for (const { id, body, binary, maybe, expires } of saved) {
      this._insert({ id, body: binary ? fromBase64(body) : body, expires, maybe }).promise.catch((error) => failed(id, error));
    }
  }
}
