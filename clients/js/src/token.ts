import { attempt } from './errors.js';

/** Why the client asks for a token. */
export type TokenReason = 'initial' | 'expired' | 'rejected';

/** A token, or what fetches one. */
export type TokenSource =
  | string
  | ((why: { reason: TokenReason; signal: AbortSignal }) => string | undefined | Promise<string | undefined>);

/** Asks the source. */
export async function fetchToken(source: TokenSource | undefined, reason: TokenReason, signal: AbortSignal): Promise<string | undefined> {
  return typeof source === 'function' ? source({ reason, signal }) : source;
}

/** When a JWT runs out (Unix ms); undefined for anything else. The signature is the server's business. */
export function expiryOf(token: string | undefined): number | undefined {
  return attempt(() => {
    const claims = token!.split('.')[1]!.replace(/-/g, '+').replace(/_/g, '/');
    return JSON.parse(atob(claims)).exp * 1000 || undefined;
  });
}
