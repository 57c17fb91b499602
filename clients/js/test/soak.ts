import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { Sparkway, type Loss, type Message, type Published, type SocketConstructor, type SparkwayOptions } from 'sparkway';
import { Proxy } from './proxy.js';

/** Where the nodes listen. */
export interface Node {
  host: string;
  port: number;
  path: string;
}

/** What a run did, for the report. */
export interface SoakReport {
  cuts: number;
  resumes: number;
  published: number;
  duplicates: number;
  delivered: number;
  replayed: number;
  millis: number;
}

interface Actor {
  client: Sparkway;
  seen: Message[];
  losses: Loss[];
  errors: string[];
  resumes: boolean[];
}

const actor = (urls: string[], options: SparkwayOptions): Actor => {
  const client = new Sparkway(urls, {
    webSocket: WebSocket as unknown as SocketConstructor,
    reconnect: { min: 2, max: 40 },
    session: { persist: 'none' },
    ...options,
  });
  const made: Actor = { client, seen: [], losses: [], errors: [], resumes: [] };
  client.on('message', (message) => made.seen.push(message));
  client.on('loss', (loss) => made.losses.push(loss));
  client.on('error', (error) => made.errors.push(`${error.code}: ${error.message}`));
  client.on('resume', ({ recovered }) => made.resumes.push(recovered));
  return made;
};

/**
 * Two publishers and two listeners, all behind proxies in front of two nodes. The proxies are cut at
 * random while the publishers publish. Then everything published has to be there: once, in order, for
 * everybody, with one answer each and no loss.
 */
export async function soak(nodes: Node[], { cuts, prefix, encoding }: { cuts: number; prefix: string; encoding?: SparkwayOptions['encoding'] }): Promise<SoakReport> {
  const began = Date.now();
  const proxies = nodes.map(({ host, port }) => new Proxy(host, port));
  const ports = await Promise.all(proxies.map((proxy) => proxy.listen()));
  const urls = nodes.map(({ path }, at) => `ws://127.0.0.1:${ports[at]}${path}`);
  const actors = [0, 1, 2, 3].map(() => actor(urls, { encoding }));
  try {
    const counts = await run(actors, proxies, prefix, cuts);
    return { ...counts, millis: Date.now() - began };
  } finally {
    await Promise.all(actors.map(({ client }) => client.close()));
    await Promise.all(proxies.map((proxy) => proxy.close()));
  }
}

async function run(actors: Actor[], proxies: Proxy[], prefix: string, cuts: number): Promise<Omit<SoakReport, 'millis'>> {
  const topics = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => `${prefix}:${name}`);
  const publishers = actors.slice(0, 2);
  for (const { client } of actors) client.connect();
  await Promise.all(actors.map(({ client }) => client.ready()));
  const joined = actors.flatMap(({ client }) => topics.map((name) => client.topic(name)));
  while (joined.some(({ state }) => state !== 'live')) await wait(5);

  const answers: { topic: string; data: string; answer: Promise<Published> }[] = [];
  let running = true;
  const publish = async (who: number) => {
    for (let at = 0; running; at++) {
      const topic = topics[Math.floor(Math.random() * topics.length)]!;
      const data = `${who}-${at}`;
      const answer = publishers[who]!.client.publish(topic, data);
      answer.catch(() => {}); // read at the end
      answers.push({ topic, data, answer });
      await wait(20 + Math.random() * 20); // stays below the frame rate of a client
    }
  };
  const work = [publish(0), publish(1)];
  let done = 0;
  while (done < cuts) {
    await wait(Math.random() * 60);
    const proxy = proxies[Math.floor(Math.random() * proxies.length)]!;
    done += proxy.cut((['now', 'half', 'deaf'] as const)[Math.floor(Math.random() * 3)]);
  }
  running = false;
  await Promise.all(work);
  const report = (failure: string) =>
    `${failure}; ${JSON.stringify(actors.map(({ client, seen, losses, errors }) => ({ ...client.status, queued: client.queued, seen: seen.length, losses, errors: errors.slice(0, 5) })))}`;
  const late = wait(30_000, undefined, { ref: false }).then(() => Promise.reject(new Error(report('publishes without an answer'))));
  const results = await Promise.race([late, Promise.all(answers.map(async ({ topic, data, answer }) => ({ topic, data, ...(await answer) })))]);
  const total = results.length;
  const end = Date.now() + 20_000;
  while (actors.some(({ seen }) => seen.length < total) && Date.now() < end) await wait(10);
  await wait(200); // time for what would be too much

  check(actors, results, topics, report);
  await checkLogs(actors[3]!.client, results, topics);
  return {
    cuts: done,
    resumes: actors.reduce((sum, { resumes }) => sum + resumes.length, 0),
    published: total,
    duplicates: results.filter(({ duplicate }) => duplicate).length,
    delivered: actors.reduce((sum, { seen }) => sum + seen.length, 0),
    replayed: actors.reduce((sum, { seen }) => sum + seen.filter(({ replayed }) => replayed).length, 0),
  };
}

type Result = Published & { topic: string; data: string };

function check(actors: Actor[], results: Result[], topics: string[], report: (failure: string) => string): void {
  const byId = new Map(results.map((result) => [result.id!, result]));
  assert.equal(byId.size, results.length, report('two publishes were answered with one id'));
  for (const { seen, losses, resumes } of actors) {
    assert.deepEqual(losses, [], report('a loss was reported, and nothing was lost'));
    assert.ok(resumes.every((recovered) => recovered), report('a session was lost'));
    assert.equal(seen.length, results.length, report('not everything was delivered once'));
    for (const message of seen) {
      const result = byId.get(message.id!);
      assert.deepEqual([result?.topic, result?.data], [message.topic, message.data], report(`message ${message.id} was not published so`));
    }
    for (const topic of topics) {
      const own = seen.filter((message) => message.topic === topic);
      for (let at = 1; at < own.length; at++) assert.ok(Number(own[at]!.id) > Number(own[at - 1]!.id), report('out of order'));
      for (const who of ['0', '1']) {
        const order = own.map(({ data }) => String(data)).filter((data) => data.startsWith(`${who}-`)).map((data) => Number(data.slice(2)));
        assert.deepEqual(order, [...order].sort((a, b) => a - b), report('a publisher was reordered'));
      }
    }
  }
}

/** The logs hold each publish once, under the id of its answer. */
async function checkLogs(client: Sparkway, results: Result[], topics: string[]): Promise<void> {
  for (const topic of topics) {
    const found: Message[] = [];
    for (let after = '0'; ; ) {
      const { messages } = await client.history(topic, { after, limit: 100 });
      found.push(...messages);
      if (messages.length < 100) break;
      after = messages.at(-1)!.id!;
    }
    const expected = results.filter((result) => result.topic === topic).sort((a, b) => Number(a.id) - Number(b.id));
    assert.deepEqual(found.map(({ id, data }) => [id, data]), expected.map(({ id, data }) => [id, data]), `log of ${topic}`);
  }
}
