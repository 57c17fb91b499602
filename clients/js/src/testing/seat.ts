import { json, type Codec, type Frame } from '../codec.js';
import { msgpack } from '../msgpack.js';
import type { Entry, Gap } from './log.js';
import type { FakeServer, Session, Subscription } from './server.js';

/** The way back to a client. */
export interface Transport {
  send(bytes: string | Uint8Array): void;
  close(code: number, reason: string): void;
  /** Ends without a goodbye: the client sees 1006. */
  abort(): void;
}

/** One connection of the fake, on one of its nodes. */
export class Seat {
  session?: Session;
  private _codec: Codec;
  private _control = 0;
  private _gone = false;

  constructor(
    private _server: FakeServer,
    readonly node: number,
    protocol: string,
    private _transport: Transport,
  ) {
    this._codec = protocol === 'spark.v1.msgpack' ? msgpack() : json;
  }

  send(frame: Frame): void {
    if (!this._gone && !this._server.frozen) this._transport.send(this._codec.encode(frame));
  }

  /** A control id, which the client has to ack. */
  control(): string {
    return `c${++this._control}`;
  }

  /** Closes; without a code it is cut. */
  close(code?: number, reason = ''): void {
    if (this._gone) return;
    this.left(false);
    if (code === undefined) this._transport.abort();
    else this._transport.close(code, reason);
  }

  /** The client is gone; with `end` it ended its session. */
  left(end: boolean): void {
    if (this._gone) return;
    this._gone = true;
    this._server.left(this, end);
  }

  receive(bytes: string | ArrayBuffer): void {
    if (this._gone || this._server.frozen) return;
    const frame = this._codec.decode(bytes);
    this._server.received.push({ node: this.node, frame });
    if (this._server.intercept?.(frame, this)) return;
    if (!this.session) this._server.greet(this, frame);
    else this._request(this.session, frame);
  }

  ack(frame: Frame, result?: unknown): void {
    if (frame.id) this.send({ type: 'ws:ack', data: { ackId: frame.id, result } });
  }

  /** Answers with a refusal. */
  refuse(frame: Frame, code: string, retryable = false, retryAfter?: number): void {
    this.send({ type: 'ws:error', data: { ackId: frame.id, code, message: code, retryable, retry_after: retryAfter } });
  }

  /** Sends a stored message, unless it is not for this session. */
  message(entry: Entry, subscription: Subscription): void {
    const own = entry.origin === this.session!.id;
    if (own && (!subscription.echo || entry.excludeOrigin)) return;
    const { id, topic, data, from, ts } = entry;
    this.send({ type: 'topic:message', id, topic, data, from, ts });
  }

  gap({ topic, ...data }: Gap): void {
    this.send({ type: 'topic:gap', topic, data });
  }

  private _request(session: Session, frame: Frame): void {
    const { data = {} } = frame;
    switch (frame.type) {
      case 'ws:heartbeat':
        if (!this._server.owns(session, data.heartbeat_token)) return this.refuse(frame, 'bad_heartbeat_token');
        return this.send({ type: 'ws:heartbeat_ack', ...this._server.news(session, this) });
      case 'ws:ack':
        return this._server.acked(session, data.ackId);
      case 'ws:ping':
        return this.ack(frame);
      case 'ws:refresh':
        return this.ack(frame, this._server.renew(session, data.token));
      case 'ws:close':
        return;
      case 'topic:subscribe':
        return this._server.subscribe(this, session, frame);
      case 'topic:unsubscribe':
        for (const topic of data.topics) session.topics.delete(topic);
        return this.ack(frame, { unsubscribed: data.topics });
      case 'topic:publish':
        return this._server.publishOf(this, session, frame);
      case 'topic:history':
        return this.ack(frame, this._server.history(data));
      case 'topic:presence':
        return this.ack(frame, this._server.presence(data.topic));
      case 'rpc:call':
        return this._server.call(this, frame);
      default:
        this.refuse(frame, 'unknown_type');
    }
  }
}
