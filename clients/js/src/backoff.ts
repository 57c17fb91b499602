/** What to do after a close. */
export type Next = 'stop' | 'backoff' | 'resume';

/** The close table of protocol.md; an unknown code means: come back with backoff. */
export function nextAfter(code: number): Next {
  const family = Math.floor(code / 100);
  if (family === 42 || code === 1001 || code === 1012) return 'resume';
  return family === 40 || [1000, 1002, 1003, 1007, 1008, 1009].includes(code) ? 'stop' : 'backoff';
}

/** Bounds of the delay before an attempt. */
export interface Backoff {
  /** Upper bound of the first delay, in ms. Default 500. */
  min?: number;
  /** Upper bound of every delay, in ms. Default 20,000. */
  max?: number;
  /** `full`: anywhere between 0 and the bound; `none`: the bound itself. Default `full`. */
  jitter?: 'full' | 'none';
  /** Attempts in a row before the client gives up. Default Infinity. */
  attempts?: number;
}

/** The delay before attempt number `attempt` (from 1) in ms: the bound doubles with each. */
export function delayOf(attempt: number, { min = 500, max = 20_000, jitter = 'full' }: Backoff): number {
  const bound = Math.min(max, min * 2 ** (attempt - 1));
  return jitter === 'none' ? bound : Math.random() * bound;
}
