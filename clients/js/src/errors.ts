/**
 * Why a request failed.
 *
 * `code` is the server's code (`forbidden`, `rate_limited`, `unavailable`, ...) or one of the client's own:
 * `queue_full`, `timeout`, `offline` (a volatile publish without a connection), `disconnected` (the answer of a
 * request that may not be repeated was lost), `session_lost` (the session ended between a publish and its
 * answer, so it may or may not be stored), `callback_failed` (the token or address callback threw), `gave_up` (all attempts used), `closed`.
 */
export class SparkwayError extends Error {
  override readonly name = 'SparkwayError';

  constructor(
    readonly code: string,
    message: string,
    /** Whether the same request may succeed later. */
    readonly retryable = false,
    /** Milliseconds after which a retry makes sense, where the server knows. */
    readonly retryAfter?: number,
    /** What made it fail, where another error did. */
    cause?: unknown,
  ) {
    super(message);
    this.cause = cause;
  }
}

/** What `fn` gives; undefined when it throws. */
export function attempt<T>(fn: () => T): T | undefined {
  try {
    return fn();
  } catch {
    return undefined;
  }
}

/** The error that a `ws:error` frame describes. */
export function refusal(data: any): SparkwayError {
  const { code = 'internal', message = code, retryable = false, retry_after: after } = data ?? {};
  return new SparkwayError(code, message, !!retryable, after ?? undefined);
}
