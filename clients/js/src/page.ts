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

/** Whether a page's life can be watched here: not in Node, not in workers. */
export const isPage = (): boolean => typeof document !== 'undefined' && typeof addEventListener === 'function';

/** Watches the page, in workers the network only, elsewhere nothing. */
export function watchPage(events: PageEvents): Off {
  if (typeof addEventListener !== 'function') return () => {};
  const offs: Off[] = [];
  const listen = (target: EventTarget, type: string, fn: (event: any) => void) => {
    target.addEventListener(type, fn);
    offs.push(() => target.removeEventListener(type, fn));
  };
  listen(globalThis as unknown as EventTarget, 'online', () => events.wake());
  listen(globalThis as unknown as EventTarget, 'offline', () => events.wake());
  if (isPage()) {
    listen(document, 'visibilitychange', () => document.visibilityState === 'visible' && events.wake());
    listen(globalThis as unknown as EventTarget, 'pagehide', (event) => events.hide(!!event.persisted));
    listen(globalThis as unknown as EventTarget, 'pageshow', (event) => event.persisted && events.show());
  }
  return () => offs.forEach((off) => off());
}
