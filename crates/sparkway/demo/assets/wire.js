// A WebSocket whose wire can be cut and whose reader can freeze. The cut is the worst kind: this
// side hears and says nothing any more, while the node still believes in the connection.

/** A WebSocket class bound to one client's wire. */
export function socketOf(wire) {
  return class {
    constructor(url, protocols) {
      this.real = new WebSocket(url, protocols);
      this.onopen = this.onmessage = this.onclose = this.onerror = null;
      wire.socket = this;
      this.real.onopen = (event) => this.hear('onopen', event);
      this.real.onmessage = (event) => {
        wire.seen?.('in', event.data);
        this.hear('onmessage', event);
      };
      this.real.onerror = (event) => this.hear('onerror', event);
      this.real.onclose = (event) => this.hear('onclose', event);
      this.held = [];
    }

    set binaryType(type) { this.real.binaryType = type; }
    get binaryType() { return this.real.binaryType; }

    hear(what, event) {
      if (this.dead) return;
      if (wire.frozen) this.held.push([what, event]);
      else this[what]?.(event);
    }

    thaw() {
      for (const [what, event] of this.held.splice(0)) this.hear(what, event);
    }

    send(data) {
      wire.seen?.('out', data);
      if (!this.dead) this.real.send(data);
    }

    close(code, reason) { this.real.close(code || undefined, reason); }

    /** The wire is cut: nothing more is heard, and the node is not told for a while. */
    cut() {
      if (this.dead) return;
      const { onclose } = this;
      this.dead = true;
      setTimeout(() => this.real.close(), 8000);
      onclose?.({ code: 1006, reason: 'cut' });
    }
  };
}

/** One client's wire. */
export class Wire {
  frozen = false;

  cut() { this.socket?.cut(); }

  freeze(ms) {
    this.frozen = true;
    setTimeout(() => {
      this.frozen = false;
      this.socket?.thaw();
    }, ms);
  }
}
