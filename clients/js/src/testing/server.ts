import type { Frame } from '../codec.js';
import type { SocketConstructor } from '../wire.js';
import { Logs, type Entry, type Gap } from './log.js';
import { Seat, type Transport } from './seat.js';
import { socketClass } from './socket.js';

/** How the fake behaves; every field has a default. */
export interface FakeOptions {
  /** Nodes that share the sessions and logs. Default 2. */
  nodes?: number;
  /** Partitions of the logs, 1 to 16. Default 1. */
  partitions?: number;
  /** In ms. Default 25,000. */
  heartbeatInterval?: number;
  maxMessageBytes?: number;
  /** The user of a token; undefined refuses it. Default: everybody is welcome, without a name. */
  authorize?(token: string | undefined): string | undefined;
  /** Whether a topic may be joined. */
  grant?(topic: string): boolean;
  /** The application's backend. */
  rpc?(method: string, params: any): unknown;
  /** Messages of a subscription that starts in the past come before its answer, not after it. */
  replayFirst?: boolean;
}

/** A topic of a session. */
export interface Subscription {
  start: number;
  echo: boolean;
  presence: boolean;
}

/** A session of the fake. */
export interface Session {
  id: string;
  user?: string;
  /** Valid heartbeat tokens: the one last used, and the newest if it was not used or acked yet. */
  tokens: string[];
  topics: Map<string, Subscription>;
  published: Map<string, string | undefined>;
  acked: string[];
  seat?: Seat;
}

const ANYBODY = () => '';

/**
 * A Sparkway cluster in memory, for tests: sessions that resume on any node, logs, ids, idempotent
 * publishes, and the faults that real networks have.
 */
export class FakeServer {
  /** Give it to the client as `webSocket`. */
  readonly WebSocket: SocketConstructor;
  /** Every frame that clients sent. */
  readonly received: { node: number; frame: Frame }[] = [];
  /** Swallows everything in both directions while true: a half-open network. */
  frozen = false;
  /** Attempts to connect are refused while true. */
  down = false;
  /** Sees each frame first; true means that it is dealt with. */
  intercept?: (frame: Frame, seat: Seat) => boolean | void;
  readonly logs: Logs;
  readonly sessions = new Map<string, Session>();
  private _seats = new Set<Seat>();
  private _serial = 0;
  private _newInterval?: number;
  private _rotate = false;

  constructor(readonly options: FakeOptions = {}) {
    this.logs = new Logs(options.partitions ?? 1);
    this.WebSocket = socketClass(this);
  }

  /** The address of a node. */
  url(node = 0): string {
    return `ws://node-${node}.fake/ws`;
  }

  /** The addresses of all nodes. */
  get urls(): string[] {
    return Array.from({ length: this.options.nodes ?? 2 }, (_, node) => this.url(node));
  }

  /** Open connections. */
  get seats(): Seat[] {
    return [...this._seats];
  }

  /** Takes a connection in; feed it with `receive`, end it with `left`. */
  accept(node: number, protocol: string, transport: Transport): Seat {
    const seat = new Seat(this, node, protocol, transport);
    this._seats.add(seat);
    return seat;
  }

  /** Stores a message as a backend would. */
  publish(topic: string, data: unknown, from = 'server'): string {
    return this._store({ topic, data, from }).id;
  }

  /** Cuts all connections, or those of a node, without a goodbye. */
  cut(node?: number): void {
    this.close(undefined, '', node);
  }

  /** Closes all connections, or those of a node. */
  close(code?: number, reason = '', node?: number): void {
    for (const seat of this.seats) if (node === undefined || seat.node === node) seat.close(code, reason);
  }

  /** Announces a drain. */
  drain(node: number, reconnectAfter: number): void {
    for (const seat of this.seats) {
      if (seat.node === node) seat.send({ type: 'ws:drain', data: { reconnect_after: reconnectAfter, resume: true } });
    }
  }

  /** Forgets all sessions, as after their window. */
  expire(): void {
    for (const session of this.sessions.values()) session.seat?.close();
    this.sessions.clear();
  }

  /** Tells live subscribers that something is gone. */
  gap(gap: Gap): void {
    for (const { session, seat } of this._listeners(gap.topic)) if (session.topics.has(gap.topic)) seat.gap(gap);
  }

  /** With the next heartbeat: a new token, or a new interval. */
  change({ token = false, interval }: { token?: boolean; interval?: number }): void {
    this._rotate = token;
    this._newInterval = interval;
  }

  /** @internal */
  left(seat: Seat, end: boolean): void {
    this._seats.delete(seat);
    const { session } = seat;
    if (session?.seat !== seat) return;
    session.seat = undefined;
    if (end) this.sessions.delete(session.id);
    this._announce('topic:leave', session);
  }

  /** @internal */
  greet(seat: Seat, frame: Frame): void {
    const data = frame.data ?? {};
    if (frame.type === 'ws:resume') return this._resume(seat, data);
    if (frame.type !== 'ws:connect') return seat.close(1008, 'not_connected');
    const user = (this.options.authorize ?? ANYBODY)(data.token);
    if (user === undefined) {
      seat.refuse(frame, 'unauthorized');
      return seat.close(1008, 'Unauthorized');
    }
    const id = `00000000-0000-8000-8000-${String(++this._serial).padStart(12, '0')}`;
    const session: Session = { id, user: user || undefined, tokens: [], topics: new Map(), published: new Map(), acked: [] };
    this.sessions.set(id, session);
    session.tokens = [`${id}/1`];
    this._attach(seat, session);
    seat.send({ type: 'ws:connect_ack', data: this._welcome(seat, session) });
  }

  private _attach(seat: Seat, session: Session): void {
    const old = session.seat;
    session.seat = seat;
    seat.session = session;
    old?.close(4009, 'superseded');
  }

  private _welcome(seat: Seat, session: Session) {
    const heads = this.logs.heads();
    return {
      session_id: session.id,
      heartbeat_token: session.tokens.at(-1),
      heartbeat_interval: this._newInterval ?? this.options.heartbeatInterval ?? 25_000,
      last_message_id: heads.length > 1 ? heads : (heads[0] ?? '0'),
      gateway: {
        node: `node-${seat.node}`,
        version: 'fake',
        resume_window: 120_000,
        max_message_bytes: this.options.maxMessageBytes ?? 65_536,
        user: session.user,
      },
    };
  }

  private _resume(seat: Seat, data: any): void {
    const session = this.sessions.get(data.session_id);
    if (!session || !this.owns(session, data.heartbeat_token)) {
      return seat.send({ type: 'ws:resume_failed', data: { reason: 'not_resumable' } });
    }
    const seen = new Map<number, number>();
    for (const id of [].concat(data.last_message_id ?? [])) {
      if (!/^\d{1,16}$/.test(id)) return seat.send({ type: 'ws:resume_failed', data: { reason: 'bad_message_id' } });
      seen.set(Number(id) % 16, Number(id));
    }
    // The token shown stays good until the next one is used: this answer may be lost.
    session.tokens = [data.heartbeat_token, next(data.heartbeat_token)];
    this._attach(seat, session);
    const gaps: Gap[] = [];
    const missed: [Entry, Subscription][] = [];
    for (const [topic, subscription] of session.topics) {
      const from = Math.max(subscription.start, seen.get(this.logs.partition(topic)) ?? 0);
      const gap = this.logs.gap(topic, from);
      if (gap) gaps.push(gap);
      const to = gap?.reason === 'rewound' ? Number(gap.after) : from;
      for (const entry of this.logs.after(topic, to)) missed.push([entry, subscription]);
    }
    missed.sort(([a], [b]) => Number(a.id) - Number(b.id));
    const welcome = { ...this._welcome(seat, session), replay_count: missed.length, gaps, dropped_topics: [] };
    seat.send({ type: 'ws:resume_ack', id: seat.control(), data: welcome });
    for (const [entry, subscription] of missed) seat.message(entry, subscription);
    seat.send({ type: 'ws:replay_done', data: { replayed: missed.length } });
  }

  /** @internal Both the newest token and the one before it are good, until the newest is used. */
  owns(session: Session, token: string): boolean {
    const known = session.tokens.includes(token);
    if (known && token === session.tokens.at(-1)) session.tokens = [token];
    return known;
  }

  /** @internal */
  acked(session: Session, id: string): void {
    session.acked.push(id);
    if (id.startsWith('c')) session.tokens = session.tokens.slice(-1);
  }

  /** @internal What a heartbeat's answer carries. */
  news(session: Session, seat: Seat): { id?: string; data?: unknown } {
    const interval = this._newInterval;
    if (!this._rotate && interval === undefined) return {};
    if (this._rotate) session.tokens = [session.tokens[0]!, next(session.tokens[0]!)];
    const token = this._rotate ? session.tokens.at(-1) : null;
    this._rotate = false;
    this._newInterval = undefined;
    return { id: seat.control(), data: { updated_token: token, updated_heartbeat_interval: interval ?? null } };
  }

  /** @internal */
  renew(session: Session, token: string): unknown {
    session.user = (this.options.authorize ?? ANYBODY)(token);
    const dropped = [...session.topics.keys()].filter((topic) => !this._grants(topic));
    for (const topic of dropped) session.topics.delete(topic);
    return { expires_at: Date.now() + 3_600_000, dropped_topics: dropped };
  }

  private _grants(topic: string): boolean {
    return this.options.grant?.(topic) ?? true;
  }

  /** @internal */
  subscribe(seat: Seat, session: Session, frame: Frame): void {
    const { topics, since, rewind, presence = false, echo = true } = frame.data;
    const granted = [];
    const rejected = [];
    const replay: [Entry, Subscription][] = [];
    for (const topic of topics as string[]) {
      if (!this._grants(topic)) {
        rejected.push({ topic, code: 'forbidden' });
        continue;
      }
      const position = this.logs.tip(topic);
      const entries = since !== undefined ? this.logs.after(topic, Number(since)) : rewind ? this.logs.of(topic).slice(-rewind) : [];
      const recovered = since === undefined ? true : !this.logs.gap(topic, Number(since)) && Number(since) <= Number(position);
      const subscription = { start: Number(position), echo, presence };
      session.topics.set(topic, subscription);
      replay.push(...entries.map((entry): [Entry, Subscription] => [entry, subscription]));
      granted.push({ topic, position, recovered });
      this._announce('topic:join', session, topic);
    }
    if (!this.options.replayFirst) seat.ack(frame, { topics: granted, rejected });
    for (const [entry, subscription] of replay) seat.message(entry, subscription);
    if (this.options.replayFirst) seat.ack(frame, { topics: granted, rejected });
  }

  /** @internal */
  publishOf(seat: Seat, session: Session, frame: Frame): void {
    const { id = '', topic = '', data } = frame;
    if (session.published.has(id)) return seat.ack(frame, { id: session.published.get(id), duplicate: true });
    const entry = { topic, data, from: session.user, origin: session.id, excludeOrigin: !!frame.exclude_self };
    if (frame.ephemeral) {
      for (const { seat } of this._listeners(topic)) seat.send({ type: 'topic:message', topic, data, from: session.user, ts: Date.now() });
      session.published.set(id, undefined);
      return seat.ack(frame, { duplicate: false });
    }
    const stored = this._store(entry);
    session.published.set(id, stored.id);
    seat.ack(frame, { id: stored.id, duplicate: false });
  }

  private _store(entry: Omit<Entry, 'id' | 'ts'>): Entry {
    const stored = this.logs.append(entry);
    for (const { seat, subscription } of this._listeners(entry.topic)) seat.message(stored, subscription);
    return stored;
  }

  private _listeners(topic: string) {
    return [...this.sessions.values()].flatMap((session) => {
      const subscription = session.topics.get(topic);
      return subscription && session.seat ? [{ session, subscription, seat: session.seat }] : [];
    });
  }

  private _announce(type: string, session: Session, only?: string): void {
    if (!session.user) return;
    for (const topic of only ? [only] : session.topics.keys()) {
      for (const { seat, subscription } of this._listeners(topic)) {
        if (subscription.presence) seat.send({ type, topic, data: { user: session.user } });
      }
    }
  }

  /** @internal */
  history({ topic, after = '0', before = String(Number.MAX_SAFE_INTEGER), limit = 100, reverse = false }: any): unknown {
    const found = this.logs.after(topic, Number(after)).filter((entry) => Number(entry.id) < Number(before));
    if (reverse) found.reverse();
    const messages = found.slice(0, limit).map(({ id, data, from, ts }) => ({ id, topic, data, from, ts }));
    return { messages, complete: found.length <= limit && !this.logs.gap(topic, Number(after)) };
  }

  /** @internal */
  presence(topic: string): unknown {
    const users = [...new Set(this._listeners(topic).flatMap(({ session }) => session.user ?? []))].sort();
    return { users, count: users.length, truncated: false };
  }

  /** @internal */
  call(seat: Seat, frame: Frame): void {
    const { method, params } = frame.data;
    const result = this.options.rpc?.(method, params);
    if (result === undefined) seat.refuse(frame, 'not_found');
    else seat.ack(frame, { result });
  }
}

/** The token after this one. */
function next(token: string): string {
  const [id, generation] = token.split('/');
  return `${id}/${Number(generation) + 1}`;
}
