/** Timers by key, so that none is left running. */
export class Timers {
  private _running = new Map<unknown, ReturnType<typeof setTimeout>>();

  /** Calls `fn` after `delay` ms; a timer of the same key starts over. */
  set(key: unknown, delay: number, fn: () => void): void {
    this.clear(key);
    const timer = setTimeout(() => {
      this._running.delete(key);
      fn();
    }, delay);
    this._running.set(key, timer);
  }

  /** As `set`, unless a timer of that key runs already. */
  once(key: unknown, delay: number, fn: () => void): void {
    if (!this.has(key)) this.set(key, delay, fn);
  }

  has(key: unknown): boolean {
    return this._running.has(key);
  }

  clear(key: unknown): void {
    clearTimeout(this._running.get(key));
    this._running.delete(key);
  }

  clearAll(): void {
    for (const key of [...this._running.keys()]) this.clear(key);
  }
}
