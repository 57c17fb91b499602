// The real binary and a real browser for the tests beside this file.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const root = fileURLToPath(new URL('../..', import.meta.url));
const binary = process.env.SPARKWAY_BIN ?? ['release', 'debug'].map((kind) => `${root}target/${kind}/sparkway`).find(existsSync);

const isFree = (port) =>
  new Promise((done) => {
    const server = createServer().once('error', () => done(false));
    server.listen(port, '127.0.0.1', () => server.close(() => done(true)));
  });

/** A port whose successors and internal twins are free, below those of outgoing connections. */
async function freePorts(nodes) {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = 12000 + Math.floor(Math.random() * 16000);
    const all = Array.from({ length: nodes }, (_, at) => [port + at, port + at + 1000]).flat();
    if ((await Promise.all(all.map(isFree))).every(Boolean)) return port;
  }
  throw new Error('no free ports');
}

/** `sparkway dev` with two nodes; `stop` ends it. */
export async function dev(nodes = 2) {
  if (!binary) throw new Error('build sparkway first, or name it in SPARKWAY_BIN');
  const port = await freePorts(nodes);
  const child = spawn(binary, ['dev', '--nodes', String(nodes), '--port', String(port)], { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  await new Promise((ready, failed) => {
    child.stderr.on('data', (text) => {
      log += text;
      if (log.includes('ready; stop with')) ready();
    });
    child.once('exit', () => failed(new Error(`sparkway ended: ${log}`)));
  });
  const ended = new Promise((done) => child.once('exit', done));
  return {
    port,
    page: `http://localhost:${port}`,
    internal: `http://127.0.0.1:${port + 1000}`,
    log: () => log,
    stop: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** `sparkway serve` with these arguments on ports of its own; `stop` ends it. */
export async function serve(further = []) {
  if (!binary) throw new Error('build sparkway first, or name it in SPARKWAY_BIN');
  const port = await freePorts(1);
  const listen = ['--set', `server.listen=127.0.0.1:${port}`, '--set', `internal.listen=127.0.0.1:${port + 1000}`];
  const child = spawn(binary, ['serve', ...listen, ...further], { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  await new Promise((ready, failed) => {
    child.stderr.on('data', (text) => {
      log += text;
      if (/\bready\b/.test(log)) ready();
    });
    child.once('exit', () => failed(new Error(`sparkway ended: ${log}`)));
  });
  const ended = new Promise((done) => child.once('exit', done));
  return {
    port,
    internal: `http://127.0.0.1:${port + 1000}`,
    stop: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** Debian's Chromium, without a window. */
export const browser = (options = {}) =>
  chromium.launch({
    ...options,
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
  });

/** A page that fails the test by what it logs as an error. */
export async function open(at, url, size = { width: 1280, height: 720 }) {
  const context = await at.newContext({ viewport: size });
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  const requests = [];
  page.on('request', (request) => requests.push(request.url()));
  await page.goto(url);
  return { page, context, errors, requests };
}
