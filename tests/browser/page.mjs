// A page with the JavaScript client for the tests beside this file. What it hears it tells the server
// that it came from, whose books outlive every page.
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { createServer } from 'node:http';
import { connect, createServer as createTcpServer } from 'node:net';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = `${root}target/browser/client`;

const source = `
import { Sparkway } from 'sparkway';
const query = new URLSearchParams(location.search);
const urls = query.get('ports').split(',').map((port) => \`ws://localhost:\${port}/ws\`);
let told = 0;
const tell = (kind, value) => navigator.sendBeacon('/books/' + query.get('tab'), JSON.stringify({ at: [performance.timeOrigin, told++], kind, value }));
const rt = new Sparkway(urls, { session: { persist: 'tab' }, queue: { store: sessionStorage } });
const topic = rt.topic(query.get('topic'));
topic.on('message', ({ id, data, replayed }) => tell('message', { id, data, replayed }));
topic.on('loss', (loss) => tell('loss', loss));
rt.on('resume', (resumed) => tell('resume', resumed));
globalThis.rt = rt;
globalThis.topic = topic;
globalThis.loaded = Math.random();
addEventListener('pageshow', (event) => { globalThis.persisted = event.persisted; });
rt.connect();
`;

/** Serves the page; `books(tab)` is what the page of that name told so far. */
export async function pages() {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(`${folder}/node_modules`, { recursive: true });
  symlinkSync(`${root}clients/js`, `${folder}/node_modules/sparkway`);
  writeFileSync(`${folder}/main.ts`, source);
  const script = execFileSync(`${root}clients/js/node_modules/.bin/esbuild`, ['main.ts', '--bundle', '--log-level=warning'], { cwd: folder });
  const books = new Map();
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    if (request.method === 'POST') {
      let body = '';
      request.on('data', (part) => (body += part));
      request.on('end', () => {
        const tab = pathname.slice('/books/'.length);
        if (!books.has(tab)) books.set(tab, []);
        books.get(tab).push(JSON.parse(body));
        response.end();
      });
      return;
    }
    const is = pathname === '/main.js';
    response.setHeader('content-type', is ? 'text/javascript' : 'text/html');
    response.end(is ? script : pathname === '/elsewhere' ? '<!doctype html><title>elsewhere</title>' : '<!doctype html><title>page</title><script src="/main.js"></script>');
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const origin = `http://localhost:${server.address().port}`;
  return {
    elsewhere: `${origin}/elsewhere`,
    at: (ports, topic, tab) => `${origin}/?ports=${ports}&topic=${topic}&tab=${tab}`,
    // Beacons overtake each other: in the order in which the page told them.
    books: (tab) => [...(books.get(tab) ?? [])].sort((one, other) => one.at[0] - other.at[0] || one.at[1] - other.at[1]),
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

/**
 * The network between a page and the nodes: Chromium's own switch tells the page, but leaves open
 * WebSockets alone. `off()` freezes what is open and lets nothing in, as a lost network does.
 */
export async function network(cluster, context) {
  const sockets = new Set();
  let isOff = false;
  const ports = await Promise.all(
    [cluster.port, cluster.port + 1].map(async (port) => {
      const server = createTcpServer((from) => {
        if (isOff) return from.destroy();
        const to = connect(port, '127.0.0.1');
        from.pipe(to).pipe(from);
        for (const socket of [from, to]) {
          sockets.add(socket);
          socket.on('error', () => {}).on('close', () => (sockets.delete(socket), from.destroy(), to.destroy()));
        }
      });
      await new Promise((done) => server.listen(0, '127.0.0.1', done));
      server.unref();
      return server.address().port;
    }),
  );
  return {
    ports,
    off: async () => {
      isOff = true;
      for (const socket of sockets) socket.unpipe().pause();
      await context().setOffline(true);
    },
    on: async () => {
      isOff = false;
      for (const socket of sockets) socket.destroy();
      await context().setOffline(false);
    },
  };
}
