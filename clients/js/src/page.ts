import type { Off } from './emitter.js';

/** What a page goes through that a connection must know. */
export interface PageEvents {
  /** The network changed or the page is shown again: look whether the link lives. */
  wake(): void;
  /** The page goes away; `frozen` means that it may come back as it is (back/forward cache). */
  hide(frozen: boolean): void;
  /** The page came back out of the back/forward cache. */
  show(): void;
}

/** Whether there is a page here: not in Node, not in workers. */
export const isPage = (): boolean => typeof document !== 'undefined';

/** Watches the page, in workers the network only, elsewhere nothing. */
export function watchPage(events: PageEvents): Off {
  const offs: Off[] = [];
  const listen = (target: EventTarget | undefined, type: string, fn: (event: any) => void) => {
    target?.addEventListener?.(type, fn);
    offs.push(() => target?.removeEventListener?.(type, fn));
  };
  const scope = globalThis as unknown as EventTarget & { document?: Document };
  listen(scope, 'online', () => events.wake());
  listen(scope, 'offline', () => events.wake());
  listen(scope.document, 'visibilitychange', () => scope.document!.visibilityState === 'visible' && events.wake());
  listen(scope, 'pagehide', (event) => events.hide(!!event.persisted));
  listen(scope, 'pageshow', (event) => event.persisted && events.show());
  return () => offs.forEach((off) => off());
}
