// One client of the story: a Sparkway session over a wire that can be cut, with its lane in the books.
import { Sparkway } from './sparkway.js';
import { socketOf, Wire } from './wire.js';

/** Which node an id like `dev-2-4711` names, from 0; -1 for none. */
export const placeOf = (node) => Number(/^dev-(\d+)-/.exec(node ?? '')?.[1] ?? 0) - 1;

export class Player {
  wire = new Wire();
  node = -1;
  away = 0;

  constructor(name, home, { urls, topic, ledger, changed, heard }) {
    Object.assign(this, { name, urls, ledger, changed });
    this.turn = home;
    this.lane = ledger.lane(name);
    this.client = new Sparkway(() => this.address(), {
      session: { persist: 'none' },
      reconnect: { min: 200, max: 2000 },
      webSocket: socketOf(this.wire),
    });
    this.client.on('status', (status) => this.status(status));
    this.client.on('resume', ({ recovered, replayCount }) => {
      this.resumed = { ms: performance.now() - this.dialled, recovered, replayCount };
      changed(this);
    });
    this.client.on('loss', (loss) => {
      ledger.reported++;
      console.warn('loss reported', name, loss);
    });
    this.topic = this.client.topic(topic);
    this.topic.on('message', (message) => {
      ledger.got(this.lane, message);
      heard?.(message);
    });
    this.client.connect();
  }

  /** The first address is home's; each later one the next node's. */
  async address() {
    const rest = this.away - Date.now();
    if (rest > 0) await new Promise((done) => setTimeout(done, rest));
    const url = this.urls[this.turn % this.urls.length];
    this.turn = (this.turn + 1) % this.urls.length;
    this.dialled = performance.now();
    return url;
  }

  status(status) {
    const online = status.state === 'online';
    const span = this.lane.offline.at(-1);
    if (!online && this.online) this.lane.offline.push({ begin: Date.now() });
    if (online && span && !span.end) span.end = Date.now();
    this.online = online;
    this.state = status.state;
    this.rtt = status.rtt;
    if (online) {
      const node = placeOf(status.node);
      if (node !== this.node && this.node >= 0) this.lane.moves.push({ at: Date.now(), to: letter(node) });
      this.node = node;
    }
    this.changed(this);
  }

  cut(seconds) {
    this.away = Date.now() + seconds * 1000;
    this.wire.cut();
  }

  async say(body) {
    try {
      const { id } = await this.client.publish(this.topic.name, body);
      this.ledger.acknowledged(id);
    } catch (error) {
      console.warn('not published', error.code ?? error);
    }
  }

  leave() {
    this.ledger.close(this.name);
    void this.client.close();
  }
}

/** A node's letter. */
export const letter = (node) => String.fromCharCode(65 + node);
