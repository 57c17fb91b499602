import type { SocketConstructor, SocketLike } from 'sparkway';
import { settle } from './util.js';

/** A WebSocket class whose other end is the test. */
export class Script {
  readonly sockets: ScriptedSocket[] = [];
  readonly WebSocket: SocketConstructor;
  /** New sockets open by themselves; otherwise the test says `open` or `end`. */
  opens = true;

  constructor() {
    const script = this;
    this.WebSocket = class extends ScriptedSocket {
      constructor(url: string, protocols?: string[]) {
        super(url, protocols);
        script.sockets.push(this);
        if (script.opens) queueMicrotask(() => this.open());
      }
    };
  }

  get last(): ScriptedSocket {
    return this.sockets.at(-1)!;
  }
}

export class ScriptedSocket implements SocketLike {
  binaryType = '';
  onopen: ((event: any) => void) | null = null;
  onmessage: ((event: any) => void) | null = null;
  onerror: ((event: any) => void) | null = null;
  onclose: ((event: any) => void) | null = null;
  readonly sent: any[] = [];
  closed?: { code: number | undefined; reason: string | undefined };
  private live = false;

  constructor(
    readonly url: string,
    readonly protocols?: string[],
  ) {}

  open(): void {
    if (this.closed) return;
    this.live = true;
    this.onopen?.({});
  }

  send(data: string): void {
    if (!this.live) throw new Error('not open');
    this.sent.push(JSON.parse(data));
  }

  close(code?: number, reason?: string): void {
    this.closed = { code, reason };
    this.live = false;
  }

  /** The server says something. */
  async say(message: unknown): Promise<void> {
    this.onmessage?.({ data: typeof message === 'string' ? message : JSON.stringify(message) });
    await settle();
  }

  /** The server or the network ends it. */
  async end(code = 1006, reason = ''): Promise<void> {
    this.live = false;
    this.onclose?.({ code, reason });
    await settle();
  }

  /** What was sent of one type. */
  of(type: string): any[] {
    return this.sent.filter((message) => message.type === type);
  }
}
