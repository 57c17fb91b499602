import type { Session } from './contract.js';
import { attempt } from './errors.js';
import type { SavedPublish } from './outbox.js';
import type { SavedTopic } from './subscriptions.js';

/** Where things are kept: `sessionStorage`, or anything like it. */
export interface Store {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

/** A session as it is kept across a reload. */
export interface SavedSession {
  session: Session;
  cursor: string[];
  topics: SavedTopic[];
}

/** Publishes as they are kept: `session` tells whether they may be repeated. */
export interface SavedQueue {
  session?: string;
  protocol: string;
  items: SavedPublish[];
}

/** The page's own `sessionStorage`, where it is allowed. */
export const tabStore = (): Store | undefined => attempt(() => globalThis.sessionStorage);

/**
 * One kept value. It is taken out when it is read: in a duplicated tab, whose storage is a copy, it would
 * otherwise take the session away from the first.
 */
export class Kept<T> {
  constructor(
    private _store: Store | undefined,
    private _key: string,
  ) {}

  /** Keeps a value; it is not even made where there is no store. In a store that is full or forbidden nothing is kept. */
  put(make: () => T): void {
    attempt(() => this._store?.setItem(this._key, JSON.stringify(make())));
  }

  peek(): T | undefined {
    return attempt(() => JSON.parse(this._store!.getItem(this._key)!)) ?? undefined;
  }

  take(): T | undefined {
    const value = this.peek();
    this.clear();
    return value;
  }

  clear(): void {
    attempt(() => this._store?.removeItem(this._key));
  }
}
