import type { SocketConstructor, SocketLike } from '../wire.js';
import type { Seat } from './seat.js';
import type { FakeServer } from './server.js';

/** A WebSocket class whose sockets end in the fake server. Everything happens a microtask later. */
export function socketClass(server: FakeServer): SocketConstructor {
  return class FakeSocket implements SocketLike {
    binaryType = 'blob';
    readyState = 0;
    onopen: ((event: any) => void) | null = null;
    onmessage: ((event: any) => void) | null = null;
    onerror: ((event: any) => void) | null = null;
    onclose: ((event: any) => void) | null = null;
    private _seat?: Seat;

    constructor(url: string, protocols: string[] = []) {
      const node = Number(/node-(\d+)/.exec(url)?.[1] ?? 0);
      queueMicrotask(() => {
        if (this.readyState !== 0 || server.frozen) return;
        if (server.down) return this._end(1006, '');
        this.readyState = 1;
        this._seat = server.accept(node, protocols[0] ?? '', {
          send: (bytes) => this._arrive(bytes),
          close: (code, reason) => this._end(code, reason),
          abort: () => this._end(1006, ''),
        });
        this.onopen?.({});
      });
    }

    send(bytes: string | Uint8Array): void {
      if (this.readyState !== 1) throw new Error('the socket is not open');
      const sent = typeof bytes === 'string' ? bytes : bytes.slice().buffer;
      queueMicrotask(() => this.readyState === 1 && this._seat!.receive(sent as string | ArrayBuffer));
    }

    close(code = 1005, reason = ''): void {
      if (code !== 1005 && code !== 1000 && !(code >= 3000 && code < 5000)) throw new Error(`close code ${code} is not allowed`);
      if (this.readyState > 1) return;
      queueMicrotask(() => {
        this._seat?.left(code === 1000);
        this._end(code, reason);
      });
    }

    private _arrive(bytes: string | Uint8Array): void {
      const data = typeof bytes === 'string' ? bytes : bytes.slice().buffer;
      queueMicrotask(() => this.readyState === 1 && this.onmessage?.({ data }));
    }

    private _end(code: number, reason: string): void {
      queueMicrotask(() => {
        if (this.readyState === 3) return;
        this.readyState = 3;
        this.onclose?.({ code, reason });
      });
    }
  } as unknown as SocketConstructor;
}
