/** One stored message. */
export interface Entry {
  id: string;
  topic: string;
  data: unknown;
  from?: string;
  ts: number;
  /** The session that published it, and whether it asked not to receive it. */
  origin?: string;
  excludeOrigin?: boolean;
}

/** A gap as the wire names it. */
export interface Gap {
  topic: string;
  reason: 'trimmed' | 'expired' | 'rewound';
  after: string;
  before: string;
}

const ID_EPOCH_MS = 1_735_689_600_000;

/** Topic logs in memory: ids as the server gives them (core.md 1), and what was cut off. */
export class Logs {
  private _entries = new Map<string, Entry[]>();
  private _clocks = new Map<number, number>();
  private _trimmed = new Map<string, number>();
  private _lost = new Map<string, [number, number]>();

  constructor(private _partitions: number) {}

  partition(topic: string): number {
    let hash = 7;
    for (const symbol of topic) hash = (hash * 31 + symbol.codePointAt(0)!) % 1_000_003;
    return hash % this._partitions;
  }

  append(entry: Omit<Entry, 'id' | 'ts'>): Entry {
    const partition = this.partition(entry.topic);
    const clock = this._clocks.get(partition) ?? partition;
    const now = (Date.now() - ID_EPOCH_MS) * 4096 + partition;
    const id = Math.max(clock + 16, now);
    this._clocks.set(partition, id);
    const stored = { ...entry, id: String(id), ts: Date.now() };
    this.of(entry.topic).push(stored);
    return stored;
  }

  of(topic: string): Entry[] {
    let entries = this._entries.get(topic);
    if (!entries) this._entries.set(topic, (entries = []));
    return entries;
  }

  tip(topic: string): string {
    return this.of(topic).at(-1)?.id ?? String(this._trimmed.get(topic) ?? 0);
  }

  /** The newest id of each partition. */
  heads(): string[] {
    return [...this._clocks.values()].map(String);
  }

  after(topic: string, id: number): Entry[] {
    return this.of(topic).filter((entry) => Number(entry.id) > id);
  }

  /** Cuts off all but the newest `keep`, as a bound on entries does. */
  trim(topic: string, keep: number): void {
    const gone = this.of(topic).splice(0, Math.max(0, this.of(topic).length - keep));
    if (gone.length) this._trimmed.set(topic, Number(gone.at(-1)!.id));
  }

  /** Loses the newest, as a store does that was restored from an older copy. */
  rewind(topic: string, keep: number): void {
    const gone = this.of(topic).splice(keep);
    if (gone.length) this._lost.set(topic, [Number(this.tip(topic)), Number(gone.at(-1)!.id)]);
  }

  /** What somebody who has everything up to `id` will never get. */
  gap(topic: string, id: number): Gap | undefined {
    const first = this.after(topic, id)[0]?.id ?? '0';
    const lost = this._lost.get(topic);
    if (lost && id > lost[0] && id <= lost[1]) return { topic, reason: 'rewound', after: String(lost[0]), before: first };
    if ((this._trimmed.get(topic) ?? 0) > id) return { topic, reason: 'trimmed', after: String(id), before: first };
    return undefined;
  }
}
