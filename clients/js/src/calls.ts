import type { Frame } from './codec.js';
import { SparkwayError } from './errors.js';

/** A request that waits for its answer. */
export interface Call {
  frame: Frame & { id: string };
  /** Asked again on the next connection when the answer was lost; otherwise it fails as `disconnected`. */
  repeat: boolean;
  done(result: any): void;
  failed(error: SparkwayError): void;
  sent?: boolean;
}

/** Requests by their frame id, in the order in which they were made. */
export class Calls {
  private _open = new Map<string, Call>();

  get size(): number {
    return this._open.size;
  }

  add(call: Call): void {
    this._open.set(call.frame.id, call);
  }

  remove(id: string): void {
    this._open.delete(id);
  }

  /** Sends what is not sent yet. */
  flush(send: (frame: Frame) => boolean): void {
    for (const call of this._open.values()) if (!call.sent) call.sent = send(call.frame);
  }

  /** The answer to `id`; false when it is not one of ours. */
  _settle(id: string, result: any, error?: SparkwayError): boolean {
    const call = this._open.get(id);
    if (!call) return false;
    this._open.delete(id);
    if (error) call.failed(error);
    else call.done(result);
    return true;
  }

  /** The link is gone, and with it the answers. */
  _offline(): void {
    for (const call of [...this._open.values()]) {
      if (call.repeat) call.sent = false;
      else if (call.sent) this._settle(call.frame.id, 0, new SparkwayError('disconnected', 'the connection was lost', true));
    }
  }

  /** Everything fails. */
  stop(error: SparkwayError): void {
    for (const id of [...this._open.keys()]) this._settle(id, 0, error);
  }
}
