// The books: what was acknowledged to its publisher, and what each client has received. They come
// from the page's own hands, not from the server's counters.

const KEPT = 20000;

/** Everything that was acknowledged, in the order of the ids. */
export class Ledger {
  sent = 0;
  received = 0;
  replayed = 0;
  duplicates = 0;
  reported = 0;
  disorder = 0;
  lanes = new Map();
  messages = [];
  known = new Map();
  latencies = [];

  /** A message is stored under `id`. */
  acknowledged(id) {
    this.sent++;
    this.message(id).acked = true;
  }

  message(id) {
    let found = this.known.get(id);
    if (!found) {
      found = { id, n: Number(id), at: Date.now(), acked: false };
      this.known.set(id, found);
      // Ids rise, so almost always at the end.
      let place = this.messages.length;
      while (place > 0 && this.messages[place - 1].n > found.n) place--;
      this.messages.splice(place, 0, found);
      if (this.messages.length > KEPT) this.forget();
    }
    return found;
  }

  forget() {
    for (const old of this.messages.splice(0, KEPT / 4)) {
      this.known.delete(old.id);
      for (const lane of this.lanes.values()) {
        if (!lane.got.delete(old.id) && old.acked && old.n >= lane.first && old.n < lane.last) lane.missed++;
        lane.first = Math.max(lane.first, old.n + 1);
      }
    }
  }

  /** Opens the books of a client. */
  lane(name) {
    const lane = { name, got: new Map(), first: Infinity, last: 0, missed: 0, moves: [], offline: [] };
    this.lanes.set(name, lane);
    return lane;
  }

  close(name) { this.lanes.delete(name); }

  /** `lane` has received a message. */
  got(lane, { id, replayed, data }) {
    const message = this.message(id);
    if (typeof data?.at === 'number' && !replayed) {
      message.at = Math.min(message.at, data.at);
      this.latencies.push(Date.now() - data.at);
      if (this.latencies.length > 2000) this.latencies.splice(0, 1000);
    }
    this.received++;
    if (lane.got.has(id)) { this.duplicates++; return; }
    if (message.n < lane.last) this.disorder++;
    if (lane.first === Infinity) lane.first = message.n;
    lane.last = Math.max(lane.last, message.n);
    lane.got.set(id, replayed ? 'replayed' : 'live');
    if (replayed) this.replayed++;
  }

  /** What a lane shows for a message: delivery is in order, so whatever it has passed is lost. */
  state(lane, message) {
    const got = lane.got.get(message.id);
    if (got) return got;
    if (message.n < lane.first) return 'before';
    return message.acked && message.n < lane.last ? 'lost' : 'waiting';
  }

  /** How many acknowledged messages some client has passed without having received them. */
  lost() {
    let lost = 0;
    for (const lane of this.lanes.values()) {
      lost += lane.missed;
      for (const message of this.messages) if (this.state(lane, message) === 'lost') lost++;
    }
    return lost;
  }

  p99() {
    if (!this.latencies.length) return undefined;
    const sorted = [...this.latencies].sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.99))];
  }

  trace() {
    return {
      counts: { sent: this.sent, received: this.received, replayed: this.replayed, lost: this.lost(), duplicates: this.duplicates, disorder: this.disorder },
      messages: this.messages,
      lanes: [...this.lanes.values()].map((lane) => ({ ...lane, got: [...lane.got], first: String(lane.first) })),
    };
  }
}
