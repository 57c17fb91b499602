/**
 * How far the session has got: the newest id seen of each partition, which is the id modulo 16.
 * Any node can resume the session from it. Ids are below 2^53, so a Number holds them exactly.
 */
export class Cursor {
  private _newest = new Map<number, number>();
  private _told = new Set<string>();

  /** Notes an id that was delivered. */
  see(id: number): void {
    const partition = id % 16;
    if (!(id <= this._newest.get(partition)!)) this._newest.set(partition, id);
  }

  /** Starts anew from a start position: nothing, one id, or one per partition. */
  reset(ids?: string | string[] | null): void {
    this._newest.clear();
    for (const id of ([] as string[]).concat(ids ?? [])) this.see(Number(id));
  }

  /** The newest id of every partition heard from. */
  ids(): string[] {
    return [...this._newest.values()].map(String);
  }

  /** What was not told yet: each id once. */
  news(): string[] {
    const ids = this.ids().filter((id) => !this._told.has(id));
    this._told = new Set(this.ids());
    return ids;
  }

  /**
   * `last_message_id` of a resume: a string when one is known, an array when several. With none it
   * is `0`: leaving it out would ask for no replay at all.
   */
  wire(): string | string[] {
    const ids = this.ids();
    return ids.length > 1 ? ids : (ids[0] ?? '0');
  }
}
