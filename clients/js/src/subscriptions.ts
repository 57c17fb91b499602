import { payload, type Frame } from './codec.js';
import { refusal, SparkwayError } from './errors.js';
import { Timers } from './timers.js';
import { Topic, type Loss, type Member, type Message, type TopicHost, type TopicOptions } from './topic.js';

/** Milliseconds of 2025-01-01T00:00:00Z, the zero of message ids (core.md 1). */
const ID_EPOCH_MS = 1_735_689_600_000;
/** A topic left and joined again within this time makes no traffic (React mounts twice in StrictMode). */
const LINGER_MS = 1_000;
/** A reloaded page has so long to join again what it had joined before. */
const REJOIN_MS = 10_000;
const PER_REQUEST = 100;

/** A topic as it is kept across a page reload. */
export interface SavedTopic {
  name: string;
  options: TopicOptions;
  last?: number;
  until?: number;
}

/** What the subscriptions need of the client. */
export interface SubscriptionHost extends TopicHost {
  _call(type: string, data: unknown, done: (result: any) => void, failed: (error: SparkwayError) => void): void;
  _failed(error: SparkwayError): void;
  /** Something is to be sent. */
  _flush(): void;
}

/** The topics of a client, and what of them the server knows. */
export class Subscriptions {
  private _topics = new Map<string, Topic>();
  private _leaving = new Map<string, boolean>();
  private _timers = new Timers();
  private _replaying = false;

  constructor(private _host: SubscriptionHost) {}

  /** Joins a topic, or joins in where it is joined already (its options stay). */
  join(name: string, options: TopicOptions): Topic {
    let topic = this._topics.get(name);
    if (!topic) {
      topic = new Topic(name, options, this._host);
      this._topics.set(name, topic);
      this._host._flush();
    }
    topic._refs++;
    return topic;
  }

  /** The last user of a topic left. */
  left(topic: Topic, after = LINGER_MS): void {
    this._timers.set(topic, after, () => {
      if (!topic._refs) this._end(topic);
    });
  }

  private _end(topic: Topic, error?: SparkwayError): void {
    this._topics.delete(topic.name);
    if (!error && topic._have !== 'no') this._leaving.set(topic.name, false);
    this._timers.clear(topic);
    topic.error = error;
    if (error) this._host._failed(error);
    topic._enter('ended');
    this._host._flush();
  }

  /**
   * Asks for what is wanted and not yet granted, and gives back what is no longer wanted. The server
   * carries requests out side by side, so a topic is not asked for before its former end is confirmed.
   */
  sync(): void {
    const drop: string[] = [];
    for (const [name, asked] of this._leaving) {
      if (asked) continue;
      if (this._topics.has(name)) this._leaving.delete(name);
      else if (drop.length < PER_REQUEST) drop.push(name);
    }
    for (const name of drop) this._leaving.set(name, true);
    this._unsubscribe(drop, (done) => {
      for (const name of drop) {
        if (done) this._leaving.delete(name);
        else this._leaving.set(name, false);
      }
    });
    const wanted = [...this._topics.values()].filter((topic) => topic._have === 'no' && !this._leaving.get(topic.name));
    const stale = wanted.filter((topic) => topic._stale).slice(0, PER_REQUEST);
    for (const topic of stale) topic._have = 'asked';
    this._unsubscribe(
      stale.map((topic) => topic.name),
      (done) => {
        for (const topic of stale) {
          topic._have = 'no';
          topic._stale = !done;
        }
      },
    );
    const groups = new Map<string, Topic[]>();
    for (const topic of wanted) {
      if (topic._stale) continue; // its former subscription ends first
      const { presence, echo } = topic._options;
      const key = JSON.stringify({ ...this._start(topic), presence, echo });
      groups.set(key, [...(groups.get(key) ?? []), topic]);
    }
    for (const [key, topics] of groups) {
      for (let at = 0; at < topics.length; at += PER_REQUEST) this._subscribe(topics.slice(at, at + PER_REQUEST), JSON.parse(key));
    }
  }

  /** Whether the first answer about a topic is still awaited. */
  pending(name: string): boolean {
    return this._topics.get(name)?.state === 'pending';
  }

  private _unsubscribe(topics: string[], end: (done: boolean) => void): void {
    if (!topics.length) return;
    this._host._call(
      'topic:unsubscribe',
      { topics },
      () => {
        end(true);
        this._host._flush();
      },
      ({ code, retryAfter }) => {
        if (code === 'disconnected' || code === 'closed') return; // `offline` decides
        end(false);
        this._flushAfter(retryAfter);
      },
    );
  }

  private _flushAfter(delay = 1_000): void {
    this._timers.set(this, delay, () => this._host._flush());
  }

  /** Asked for once more, from where we are. */
  private _askAgain(topic: Topic): void {
    topic._have = 'no';
    topic._continues ??= topic._last === undefined ? undefined : 'trimmed';
  }

  private _start(topic: Topic): { since?: string; rewind?: number } {
    if (topic._last !== undefined) return topic._continues ? { since: topic.position } : {};
    const { since = 'now' } = topic._options;
    if (since instanceof Date) return { since: String(Math.max(0, (+since - ID_EPOCH_MS) * 4096)) };
    if (typeof since === 'object') return { rewind: since.rewind };
    const position = since === 'saved' ? this._host._positionOf(topic.name).peek() : since;
    return position === undefined || position === 'now' ? {} : { since: position };
  }

  private _subscribe(topics: Topic[], how: { since?: string; rewind?: number }): void {
    for (const topic of topics) {
      topic._have = 'asked';
      topic._catching = !!(how.since ?? how.rewind);
    }
    const asked = new Map(topics.map((topic) => [topic.name, topic]));
    this._host._call(
      'topic:subscribe',
      { topics: [...asked.keys()], ...how },
      (result) => {
        for (const granted of result.topics ?? []) {
          const topic = asked.get(granted.topic);
          if (topic) this._granted(topic, granted, how);
        }
        for (const { topic: name, code } of result.rejected ?? []) {
          const topic = asked.get(name);
          if (topic) this._refused(topic, refusal({ code, message: `${name}: ${code}`, retryable: /unavail|rate/.test(code) }));
        }
      },
      (error) => topics.forEach((topic) => this._refused(topic, error)),
    );
  }

  private _granted(topic: Topic, { position, recovered }: Grant, how: { since?: string; rewind?: number }): void {
    if (topic._have !== 'asked') return;
    topic._have = 'yes';
    const { _continues: continues, _last: last } = topic;
    topic._continues = undefined;
    const at = Number(position);
    if (!topic._catching) topic._last = Math.max(last ?? 0, at);
    else if (recovered === false && how.since) {
      // What is gone is reported once, here: the catch-up is not repeated after another cut.
      topic._until = undefined;
      if (last! > at) topic._last = at;
      topic._lose({ topic: topic.name, reason: continues ?? 'trimmed', after: how.since });
    } else if (at > (last ?? 0)) topic._until = at;
    topic._enter('live');
    this._host._flush();
  }

  private _refused(topic: Topic, error: SparkwayError): void {
    if (topic._have !== 'asked' || error.code === 'closed') return;
    if (error.code === 'disconnected') return; // `offline` decides
    topic._have = 'no';
    if (error.retryable) this._flushAfter(error.retryAfter);
    else this._end(topic, error);
  }

  /** The link is gone. */
  _offline(): void {
    this._replaying = false;
    for (const name of this._leaving.keys()) this._leaving.set(name, false);
    for (const topic of this._topics.values()) {
      if (topic._stale || topic._until !== undefined || (topic._have === 'asked' && topic._catching)) {
        // The server may have begun to replay: drop that subscription, then ask from where we are.
        topic._stale = true;
        this._askAgain(topic);
      }
      if (topic._have === 'asked') topic._have = 'no';
      topic._until = undefined;
      if (topic.state === 'live') topic._enter('recovering');
    }
  }

  /** The session is gone: the server knows no subscription any more. */
  _sessionLost(): void {
    this._leaving.clear();
    for (const topic of this._topics.values()) {
      if (topic._last !== undefined) topic._continues = 'session_lost';
      topic._have = 'no';
      topic._stale = false;
      topic._until = undefined;
    }
  }

  /** The session goes on, with what the server says is missing. */
  _resumed(welcome: any): void {
    this._replaying = true;
    this._dropped(welcome.dropped_topics);
    for (const gap of welcome.gaps ?? []) this.gap(gap.topic, gap);
    if (!welcome.replay_count) this._replayed();
  }

  /** Everything missed has arrived. */
  _replayed(): void {
    this._replaying = false;
    for (const topic of this._topics.values()) if (topic._have === 'yes') topic._enter('live');
  }

  /** Hands a message to its topic. `caughtUp` is false while the topic's log is read from further back. */
  message(frame: Frame): { message: Message; fresh: boolean; known: boolean; caughtUp: boolean } {
    const { id, topic: name = '', from } = frame;
    const at = Number(id);
    const topic = this._topics.get(name);
    const catchUp = !!topic && !!at && (at <= topic._until! || (topic._have === 'asked' && !!topic._catching));
    const message: Message = { id, topic: name, data: payload(frame.data, frame), from: from as string | undefined, at: Number(frame.ts ?? Date.now()), replayed: this._replaying || catchUp };
    const fresh = !!topic && !topic._stale && topic._deliver(message, at);
    return { message, fresh, known: !!topic, caughtUp: !catchUp };
  }

  /** Part of a topic is gone. */
  gap(name: string, { reason, after, before }: Pick<Loss, 'reason' | 'after' | 'before'>): void {
    const loss = { topic: name, reason, after, before };
    const topic = this._topics.get(name);
    if (topic) topic._gap(loss);
    else this._host._lost(loss);
  }

  /** Somebody came or went. */
  _member(name: string, type: 'join' | 'leave', member: Member): void {
    this._topics.get(name)?._member(type, member);
  }

  /** The server took topics away. They are asked for once more: a new token may grant them, else the refusal ends them. */
  _dropped(names: string[] = []): void {
    for (const name of names) {
      const topic = this._topics.get(name);
      if (topic) this._askAgain(topic);
    }
    this._host._flush();
  }

  /** Ends all topics. */
  stop(error?: SparkwayError): void {
    this._timers.clearAll();
    for (const topic of [...this._topics.values()]) this._end(topic, error);
    this._leaving.clear();
  }

  /** What to keep across a reload. */
  save(): SavedTopic[] {
    return [...this._topics.values()]
      .filter((topic) => topic._have === 'yes')
      .map(({ name, _options: options, _last: last, _until: until }) => ({ name, options, last, until }));
  }

  /** Takes up what an earlier page had joined; what it does not join again in time is left. */
  _restore(saved: SavedTopic[]): void {
    for (const { name, options, last, until } of saved) {
      const topic = new Topic(name, options, this._host);
      Object.assign(topic, { _last: last, _until: until, _have: 'yes', _held: [] });
      this._topics.set(name, topic);
      this.left(topic, REJOIN_MS);
    }
    this._offline();
  }
}

/** A granted topic in a subscribe's result. */
interface Grant {
  position?: string;
  recovered?: boolean;
}
