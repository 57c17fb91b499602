/** Stops what it belongs to: a subscription, a watch. Harmless when called again. */
export type Off = () => void;

/** Where the client reports what it has nobody to return to. */
export interface Logger {
  error(...parts: unknown[]): void;
}

/** Calls `fn` when the signal aborts (at once if it has); the result takes the listener off again. */
export function onAbort(signal: AbortSignal | undefined, fn: () => void): Off {
  if (!signal) return () => {};
  if (signal.aborted) fn();
  else signal.addEventListener('abort', fn, { once: true });
  return () => signal.removeEventListener('abort', fn);
}

/** Typed listeners. A listener that throws is reported and never reaches the socket. */
export class Emitter<Events extends object> {
  private _sets: { [K in keyof Events]?: Set<(event: Events[K]) => void> } = {};

  constructor(private _logger: Logger = console) {}

  /** Adds a listener; the result, or the signal, takes it off. */
  on<K extends keyof Events>(type: K, fn: (event: Events[K]) => void, options?: { signal?: AbortSignal }): Off {
    const own = (event: Events[K]) => fn(event); // the same function twice is two listeners
    const set = (this._sets[type] ??= new Set());
    set.add(own);
    const off = () => void set.delete(own);
    onAbort(options?.signal, off);
    return off;
  }

  emit<K extends keyof Events>(type: K, event: Events[K]): void {
    for (const fn of [...(this._sets[type] ?? [])]) {
      try {
        fn(event);
      } catch (error) {
        this._logger.error('sparkway: a listener threw', error);
      }
    }
  }
}
