import { attempt } from './errors.js';

/** What the client needs of a WebSocket: the browser's, Node's, or the one of npm `ws`. */
export interface SocketLike {
  binaryType: string;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  send(data: any): void;
  close(code?: number, reason?: string): void;
  terminate?(): void;
}

/** A WebSocket class. */
export type SocketConstructor = new (url: string, protocols?: string[]) => SocketLike;

/** What a wire reports. After `closed` it reports nothing more of that socket. */
export interface WireEvents {
  opened(): void;
  received(bytes: string | ArrayBuffer): void;
  closed(code: number, reason: string): void;
  failed?(error: unknown): void;
}

/** One socket at a time; whatever an earlier one still says is not heard. */
export class Wire {
  /** Whether frames can be sent. */
  _isOpen = false;
  private _socket?: SocketLike;
  private _timer?: ReturnType<typeof setTimeout>;

  constructor(
    private _events: WireEvents,
    private _make?: SocketConstructor,
  ) {}

  /** Opens a socket; not open within `timeout` ms counts as a close with 1006. */
  open(url: string, protocols: string[] | undefined, timeout: number): void {
    this._release();
    const make = this._make ?? (globalThis.WebSocket as unknown as SocketConstructor | undefined);
    try {
      if (!make) throw new Error('no WebSocket here: pass one as the option webSocket');
      const socket = (this._socket = new make(url, protocols));
      socket.binaryType = 'arraybuffer';
      socket.onopen = () => {
        clearTimeout(this._timer);
        this._isOpen = true;
        this._events.opened();
      };
      socket.onmessage = (event) => this._events.received(event.data);
      socket.onerror = (event) => this._events.failed?.(event);
      socket.onclose = (event) => this._end(event.code, event.reason);
      this._timer = setTimeout(() => this.drop('connect timeout'), timeout);
    } catch (error) {
      this._events.failed?.(error);
      this._timer = setTimeout(() => this._end(1006, String(error)), 0);
    }
  }

  /** Sends if open. */
  send(bytes: string | Uint8Array): boolean {
    if (!this._isOpen) return false;
    this._socket!.send(bytes);
    return true;
  }

  /** Leaves the socket without a goodbye and reports a close with 1006. */
  drop(reason: string): void {
    this.close(0, reason);
    this._events.closed(1006, reason);
  }

  /** Closes silently: nothing is reported. `code` 0 is an abort. */
  close(code: number, reason: string): void {
    const socket = this._release();
    // A socket that refuses to be closed is gone already.
    attempt(() => (!code && socket?.terminate ? socket.terminate() : socket?.close(code || undefined, reason)));
  }

  private _end(code: number, reason: string): void {
    this._release();
    this._events.closed(code, reason);
  }

  private _release(): SocketLike | undefined {
    const socket = this._socket;
    clearTimeout(this._timer);
    this._isOpen = false;
    this._socket = undefined;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.onerror = () => {}; // npm `ws` raises what nobody listens for
    }
    return socket;
  }
}
