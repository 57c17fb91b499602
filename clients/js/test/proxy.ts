import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A TCP proxy that can cut its connections at any byte: what is on the way is lost. */
export class Proxy {
  private pairs = new Set<[Socket, Socket]>();
  private server = createServer((client) => this.join(client));
  /** New connections are refused while true. */
  down = false;

  constructor(
    private host: string,
    private port: number,
  ) {}

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return (this.server.address() as AddressInfo).port;
  }

  get connections(): number {
    return this.pairs.size;
  }

  private join(client: Socket): void {
    if (this.down) return void client.destroy();
    const upstream = connect(this.port, this.host);
    const pair: [Socket, Socket] = [client, upstream];
    this.pairs.add(pair);
    for (const [from, to] of [pair, [upstream, client] as const]) {
      from.setNoDelay(true);
      from.on('data', (bytes) => to.write(bytes));
      from.on('error', () => {});
      from.on('close', () => {
        this.pairs.delete(pair);
        to.destroy();
      });
    }
  }

  /**
   * Cuts everything: `now`; after the first `half` of what comes next; or `deaf`, after what the client
   * still says has arrived and every answer to it is lost.
   */
  cut(how: 'now' | 'half' | 'deaf' = 'now'): number {
    const pairs = [...this.pairs];
    for (const [client, upstream] of pairs) {
      const end = () => {
        client.destroy();
        upstream.destroy();
      };
      if (how === 'now') end();
      else setTimeout(end, how === 'deaf' ? 30 : 10);
      if (how === 'deaf') upstream.removeAllListeners('data').resume();
      if (how !== 'half') continue;
      for (const [from, to] of [[client, upstream] as const, [upstream, client] as const]) {
        from.removeAllListeners('data').once('data', (bytes: Buffer) => to.write(bytes.subarray(0, Math.ceil(bytes.length / 2)), end));
      }
    }
    return pairs.length;
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
