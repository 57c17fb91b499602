import { Emitter, onAbort, type Logger, type Off } from './emitter.js';
import type { SparkwayError } from './errors.js';
import type { Kept } from './saved.js';
import type { Published } from './outbox.js';

/** A message as the application sees it. */
export interface Message<T = any> {
  /** Names the message for every receiver; absent on ephemeral ones. Opaque. */
  id?: string;
  topic: string;
  data: T;
  /** The user who published it, as the server knows him. */
  from?: string;
  /** When it was stored, Unix ms. */
  at: number;
  /** Sent again because it was missed. */
  replayed: boolean;
}

/** Something of a topic cannot be delivered any more: load the state anew. */
export interface Loss {
  topic: string;
  /**
   * `trimmed`, `expired`, `rewound`: the server reported the gap. `session_lost`: the session ended and the
   * log no longer reaches back. `slow_app`: an iterator's or a reloaded page's buffer was full.
   */
  reason: 'trimmed' | 'expired' | 'rewound' | 'session_lost' | 'slow_app';
  /** The last id before the hole, where known. */
  after?: string;
  /** The first id after the hole, where known. */
  before?: string;
}

/** `pending` until the server granted it, `recovering` while the connection is away, `ended` for good. */
export type TopicState = 'pending' | 'live' | 'recovering' | 'ended';

/** Where a subscription starts. */
export type Since = 'now' | 'saved' | Date | string | { rewind: number };

export interface TopicOptions {
  /** `now` (default), after an id or a time, at the saved position, or with the newest n messages. */
  since?: Since;
  /** Report who joins and leaves. Default false. */
  presence?: boolean;
  /** Receive what this session publishes itself. Default true. */
  echo?: boolean;
}

/** Somebody came or went. */
export interface Member {
  user: string;
  info?: unknown;
}

export interface TopicEvents<T> {
  message: Message<T>;
  state: TopicState;
  loss: Loss;
  join: Member;
  leave: Member;
}

export interface PublishOptions {
  /** 1 to 64 bytes, unique in the session; made up where absent. Kept over every retry. */
  id?: string;
  signal?: AbortSignal;
  /** How long to try, in ms. Default: `queue.age`. */
  timeout?: number;
  /** Now or never: fails without a connection, is not repeated. Default: as `ephemeral`. */
  volatile?: boolean;
  /** To whoever listens now; never stored. */
  ephemeral?: boolean;
  /** `replicated`: answered only when replicas have it. Default `stored`. */
  durability?: 'stored' | 'replicated';
  /** Not back to this session. */
  excludeSelf?: boolean;
}

export interface HistoryOptions {
  after?: string;
  before?: string;
  /** 1 to 1,000. Default 100. */
  limit?: number;
  reverse?: boolean;
  signal?: AbortSignal;
}

/** A page of a topic's log. */
export interface HistoryPage<T = any> {
  messages: Message<T>[];
  /** Whether it reaches the end of what was asked for, with nothing lost before it. */
  complete: boolean;
}

/** Who is in a topic. */
export interface Presence {
  users: string[];
  count: number;
  truncated: boolean;
}

/** What a topic asks of its client. */
export interface TopicHost {
  readonly _logger?: Logger;
  publish(topic: string, data: unknown, options?: PublishOptions): Promise<Published>;
  history<T>(topic: string, options?: HistoryOptions): Promise<HistoryPage<T>>;
  presence(topic: string, options?: { signal?: AbortSignal }): Promise<Presence>;
  _positionOf(topic: string): Kept<string>;
  _lost(loss: Loss): void;
  _left(topic: Topic): void;
}

/** Messages that a reloaded page missed wait for their listener, at most so many. */
const HELD = 1_000;

/** A topic that the client has joined. Get it from `Sparkway.topic`. */
export class Topic<T = any> {
  /** Why it ended, if the server refused or withdrew it. */
  error?: SparkwayError;

  /** @internal */ _refs = 0;
  /** @internal */ _have: 'no' | 'asked' | 'yes' = 'no';
  /** @internal Newest id delivered, or the position where the subscription began. */ _last?: number;
  /** @internal Asked from further back than now. */ _catching?: boolean;
  /** @internal A catch-up from the log is not complete before this id. */ _until?: number;
  /** @internal Nothing is delivered before the server has dropped the former subscription. */ _stale = false;
  /** @internal Continues after `last`: a hole is a loss. */ _continues?: 'session_lost' | 'trimmed';
  /** @internal */ _held?: Message<T>[];
  private _now: TopicState = 'pending';
  private _emitter: Emitter<TopicEvents<T>>;
  private _lastGap?: string;

  /** @internal */
  constructor(
    readonly name: string,
    /** @internal */ readonly _options: TopicOptions,
    private _host: TopicHost,
  ) {
    this._emitter = new Emitter(_host._logger);
  }

  get state(): TopicState {
    return this._now;
  }

  /** Id of the newest message delivered, or where the subscription began. */
  get position(): string | undefined {
    return this._last === undefined ? undefined : String(this._last);
  }

  /** Adds a listener; the result, or the signal, takes it off. */
  on<K extends keyof TopicEvents<T>>(type: K, fn: (event: TopicEvents<T>[K]) => void, options?: { signal?: AbortSignal }): Off {
    const off = this._emitter.on(type, fn, options);
    if (type === 'message' && this._held) {
      queueMicrotask(() => {
        const held = this._held ?? [];
        this._held = undefined;
        for (const message of held) this._emitter.emit('message', message);
      });
    }
    return off;
  }

  /**
   * The messages from now on. Ends when the signal aborts or the topic is left; throws when the server
   * ends the topic. A consumer that falls `buffer` messages behind loses the oldest: `loss`, `slow_app`.
   */
  messages({ signal, buffer = 256 }: { signal?: AbortSignal; buffer?: number } = {}): AsyncIterableIterator<Message<T>> {
    const queue = this._held ?? [];
    this._held = undefined;
    const stop = new AbortController();
    let wake: Off = () => {};
    let off: Off = () => {};
    let dropping = false;
    const finish = () => {
      off();
      stop.abort();
      wake();
    };
    this.on(
      'message',
      (message) => {
        if (queue.push(message) > Math.max(buffer, 1)) {
          queue.shift();
          if (!dropping) this._lose({ topic: this.name, reason: 'slow_app', before: queue[0]!.id });
          dropping = true;
        }
        wake();
      },
      stop,
    );
    this.on('state', () => this._now === 'ended' && finish(), stop);
    off = onAbort(signal, finish);
    if (this._now === 'ended') finish();
    return {
      [Symbol.asyncIterator]() {
        return this;
      },
      next: async () => {
        while (!queue.length && !stop.signal.aborted) await new Promise<void>((resolve) => (wake = resolve));
        const value = signal?.aborted ? undefined : queue.shift();
        dropping &&= queue.length > 0;
        if (value) return { value, done: false };
        if (this.error && !signal?.aborted) throw this.error;
        return { value: undefined, done: true };
      },
      return: async () => {
        queue.length = 0;
        finish();
        return { value: undefined, done: true };
      },
    };
  }

  /** Publishes to this topic. */
  publish(data: T, options?: PublishOptions): Promise<Published> {
    return this._host.publish(this.name, data, options);
  }

  /** Reads a page of the topic's log. */
  history(options?: HistoryOptions): Promise<HistoryPage<T>> {
    return this._host.history(this.name, options);
  }

  /** Asks who is here. */
  presence(options?: { signal?: AbortSignal }): Promise<Presence> {
    return this._host.presence(this.name, options);
  }

  /** Keeps the position, for `since: 'saved'` after a reload. */
  savePosition(): void {
    const { position } = this;
    if (position) this._host._positionOf(this.name).put(() => position);
  }

  /** Gives back one `Sparkway.topic` call; after the last one, and a second, the subscription ends. */
  leave(): void {
    if (this._refs > 0 && --this._refs === 0) this._host._left(this);
  }

  /** @internal */
  _enter(state: TopicState): void {
    if (this._now === state || this._now === 'ended') return;
    this._now = state;
    this._emitter.emit('state', state);
  }

  /** @internal Hands a message on, in order; false when it was delivered before. */
  _deliver(message: Message<T>, id: number): boolean {
    if (id <= this._last!) return false;
    if (id) this._last = id;
    if (id >= this._until!) this._until = undefined;
    if (!this._held) this._emitter.emit('message', message);
    else if (this._held.push(message) > HELD) {
      this._held.shift();
      this._gap({ topic: this.name, reason: 'slow_app' });
    }
    return true;
  }

  /** @internal */
  _member(type: 'join' | 'leave', member: Member): void {
    this._emitter.emit(type, member);
  }

  /** @internal A gap the server reported; the same one again is no news. */
  _gap(loss: Loss): void {
    const key = JSON.stringify(loss);
    if (loss.reason === 'rewound' && Number(loss.after) < this._last!) this._last = Number(loss.after);
    if (this._lastGap === key) return;
    this._lastGap = key;
    this._lose(loss);
  }

  /** @internal */
  _lose(loss: Loss): void {
    this._emitter.emit('loss', loss);
    this._host._lost(loss);
  }
}
