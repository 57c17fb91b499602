import type { Connection } from './connection.js';
import type { Cursor } from './cursor.js';
import { SparkwayError } from './errors.js';
import type { Outbox } from './outbox.js';
import { isPage } from './page.js';
import { Kept, type SavedQueue, type SavedSession, type Store } from './saved.js';
import type { Subscriptions } from './subscriptions.js';
import { Timers } from './timers.js';

/** What is kept, and who is told when a kept publish fails. */
export interface Belongings {
  connection: Connection;
  cursor: Cursor;
  outbox: Outbox;
  subscriptions: Subscriptions;
  protocol: string;
  failed(error: SparkwayError): void;
}

/**
 * Carries a session and its queue over to the next page. In a page they are written when it goes away;
 * without page events (Node, workers) as they change.
 */
export class Keeper {
  private _session: Kept<SavedSession>;
  private _queue: Kept<SavedQueue>;
  private _timers = new Timers();

  constructor(
    private _store: Store | undefined,
    queueStore: Store | undefined,
    private _key: string,
    private _own: Belongings,
  ) {
    this._session = new Kept(_store, _key);
    this._queue = new Kept(queueStore, `${_key}:queue`);
  }

  /** Where a topic's position is kept. */
  _positionOf(topic: string): Kept<string> {
    return new Kept(this._store, `${this._key}:at:${topic}`);
  }

  /** Something changed: write it within `delay` ms. */
  _soon(delay: number): void {
    if (!isPage()) this._timers.once(delay, delay, () => this._save());
  }

  private _save(): void {
    this._timers.clearAll();
    const { connection, cursor, outbox, subscriptions, protocol } = this._own;
    const { session } = connection;
    if (session) this._session.put(() => ({ session, cursor: cursor.ids(), topics: subscriptions.save() }));
    if (outbox.size) this._queue.put(() => ({ session: session?.id, protocol, items: outbox.save() }));
    else this._queue.clear();
  }

  /** Takes up what an earlier page left. */
  _restore(): void {
    const { connection, cursor, outbox, subscriptions, protocol, failed } = this._own;
    const kept = this._session.take();
    if (kept?.session) {
      connection.session = kept.session;
      cursor.reset(kept.cursor);
      subscriptions._restore(kept.topics);
    }
    const queue = this._queue.take();
    if (queue?.protocol !== protocol) return;
    outbox._restore(queue.items, (id, cause) => failed(new SparkwayError(cause.code, `publish ${id}: ${cause.message}`, false, undefined, cause)));
    if (queue.session !== kept?.session?.id) outbox._sessionLost();
  }

  /** The session is over. */
  _forget(): void {
    this._session.clear();
  }

  /** Nothing is left behind. */
  _end(): void {
    this._timers.clearAll();
    this._forget();
    this._queue.clear();
  }

  /** The page goes away, perhaps to come back as it is. */
  _hide(frozen: boolean): void {
    this._save();
    if (frozen) this._own.connection.drop('page hidden');
  }

  /** The page came back out of the back/forward cache. */
  _show(): void {
    const kept = this._session.take();
    this._queue.clear();
    const { session } = this._own.connection;
    // A later page of this tab may have used the session meanwhile: its token is the newer one.
    if (kept && session && kept.session.id === session.id) session.token = kept.session.token;
    this._own.connection._nudge();
  }
}
