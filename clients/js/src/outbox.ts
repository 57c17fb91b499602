import { onAbort } from './emitter.js';
import { SparkwayError } from './errors.js';
import { Timers } from './timers.js';

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
  /**
   * Publishes of one topic that are under way at once. With 1, the default, a topic's order holds even
   * when the server refuses one for now; more is faster on a slow link.
   */
  inFlight: number;
}

/** A publish as it is kept across a page reload. */
export interface SavedPublish {
  id: string;
  topic: string;
  /** The encoded frame; bytes as a list of numbers. */
  body: string | number[];
  maybe: boolean;
  expires: number;
}

interface Parcel {
  id: string;
  topic: string;
  body: string | Uint8Array;
  volatile?: boolean;
}

interface Item extends Parcel {
  expires: number;
  /** Sent on the present connection. */
  sent: boolean;
  /** Sent at least once in this session, so it may be stored. */
  maybe: boolean;
  promise: Promise<Published>;
  end(error?: unknown, result?: Published | false): void;
}

/** What the outbox tells the client. */
export interface OutboxHost {
  /** Something waits, or no longer does. */
  _queued(): void;
  /** Something may be sent. */
  _flush(): void;
}

/** Over all topics; the server takes 256 at once. */
const IN_FLIGHT = 64;

/**
 * Publishes until they are answered, in order, each under one id. Across connections of one session an
 * id is stored once however often it is sent, so what has no answer is simply sent again.
 */
export class Outbox {
  private _items = new Map<string, Item>();
  private _bytes = 0;
  private _refusals = 0;
  private _timers = new Timers();

  constructor(
    private _settings: QueueSettings,
    private _host: OutboxHost,
  ) {}

  get size(): number {
    return this._items.size;
  }

  private _all(): Item[] {
    return [...this._items.values()];
  }

  /** Queues a publish. An id that waits already gives the same promise. */
  add(parcel: Parcel, timeout = this._settings.age, signal?: AbortSignal): Promise<Published> {
    const known = this._items.get(parcel.id);
    if (known) return known.promise;
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (!this._makeRoom(parcel.body.length)) {
      return Promise.reject(new SparkwayError('queue_full', 'the queue is full', true));
    }
    return this._insert(parcel, Date.now() + timeout, false, signal);
  }

  private _insert(parcel: Parcel, expires: number, maybe: boolean, signal?: AbortSignal): Promise<Published> {
    const item = { ...parcel, expires, maybe } as Item;
    this._items.set(item.id, item);
    this._bytes += item.body.length;
    item.promise = new Promise((resolve, reject) => {
      let off = () => {};
      this._timers.set(item, expires - Date.now(), () => item.end(new SparkwayError('timeout', 'no answer in time', true)));
      item.end = (error, result) => {
        if (!this._items.delete(item.id)) return;
        this._timers.clear(item);
        off();
        this._bytes -= item.body.length;
        if (result) resolve(result);
        else reject(error);
        this._host._queued();
      };
      off = onAbort(signal, () => item.end(signal!.reason));
    });
    this._host._queued();
    return item.promise;
  }

  private _makeRoom(size: number): boolean {
    const { messages, bytes, overflow } = this._settings;
    const full = () => this.size >= messages || this._bytes + size > bytes;
    if (overflow !== 'reject') {
      for (const item of this._all()) {
        if (full() && !item.maybe) item.end(new SparkwayError('queue_full', 'the queue is full', true));
      }
    }
    return !full();
  }

  /**
   * Sends what may be sent now, up to `limit` bytes each: of each topic the oldest first. A topic is
   * `blocked` while a subscription made before would not yet see what is published to it.
   */
  flush(send: (bytes: string | Uint8Array) => boolean, limit: number, blocked: (topic: string) => boolean): void {
    const busy = new Map<string, number>();
    let inFlight = 0;
    for (const item of this._all()) {
      const before = busy.get(item.topic) ?? 0;
      if (!item.sent && (item.volatile || (!this._timers.has('hold') && before < this._settings.inFlight && !blocked(item.topic)))) {
        if (sizeOf(item.body) > limit) {
          item.end(new SparkwayError('too_large', `over ${limit} bytes`));
          continue;
        }
        item.sent = send(item.body);
        item.maybe ||= item.sent;
      }
      if (!item.volatile) busy.set(item.topic, before + 1);
      if (item.sent && ++inFlight >= IN_FLIGHT) return;
    }
  }

  /** The answer to `id`; false when it is not one of ours. */
  _settle(id: string, result: any, error?: SparkwayError): boolean {
    const item = this._items.get(id);
    if (!item) return false;
    if (error?.code === 'superseded') return true; // the close that follows decides
    if (error?.retryable && !item.volatile) {
      item.sent = false;
      const delay = error.retryAfter ?? Math.min(500 * 2 ** this._refusals++, 10_000);
      this._timers.set('hold', delay * (1 + Math.random() / 4), () => this._host._flush());
    } else {
      this._refusals = 0;
      item.end(error, !error && { id: result.id, duplicate: !!result.duplicate });
      this._host._flush();
    }
    return true;
  }

  /** The link is gone: what was sent will be sent again, in the same order. */
  _offline(): void {
    this._timers.clear('hold');
    for (const item of this._all()) {
      item.sent = false;
      if (item.volatile) item.end(new SparkwayError('disconnected', 'the connection was lost', true));
    }
  }

  /** The server no longer knows which ids it has stored: what may be stored cannot be sent again. */
  _sessionLost(): void {
    for (const item of this._all()) {
      if (item.maybe) item.end(new SparkwayError('session_lost', 'the session ended: it may be stored or not'));
    }
  }

  /** Everything fails. */
  stop(error: unknown): void {
    this._timers.clear('hold');
    for (const item of this._all()) item.end(error);
  }

  /** What to keep across a reload. */
  save(): SavedPublish[] {
    return this._all()
      .filter((item) => !item.volatile)
      .map(({ id, topic, body, maybe, expires }) => ({ id, topic, body: typeof body === 'string' ? body : [...body], maybe, expires }));
  }

  /** Takes up what an earlier page left; nobody waits for it, so failures go to `failed`. */
  _restore(saved: SavedPublish[], failed: (id: string, error: SparkwayError) => void): void {
    for (const { id, topic, body, maybe, expires } of saved) {
      const bytes = typeof body === 'string' ? body : new Uint8Array(body);
      this._insert({ id, topic, body: bytes }, expires, maybe).catch((error) => failed(id, error));
    }
  }
}

const sizeOf = (body: string | Uint8Array): number => (typeof body === 'string' ? new TextEncoder().encode(body) : body).length;
