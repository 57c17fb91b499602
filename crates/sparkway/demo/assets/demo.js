// The story: two clients on two nodes that talk, and whoever looks on may break what he likes.
import { dialects } from './dialects.js';
import { Ledger } from './ledger.js';
import { letter, Player } from './player.js';
import { Timeline } from './timeline.js';

const $ = (id) => document.getElementById(id);
const make = (tag, props = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), props);
  element.append(...children);
  return element;
};
const NAMES = ['Alice', 'Bob'];
const room = `demo-${Math.random().toString(36).slice(2, 8)}`;
const topic = `room:${room}`;
const ledger = new Ledger();
const timeline = new Timeline($('timeline'), ledger);
const players = [];
const frames = [];
let nodes = [];
let paused = false;
let spoken = 0;
let stopDialect = () => {};

const hueOf = (place) => `hsl(${(place * 137 + 205) % 360} 55% 42%)`;
const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;

async function start() {
  nodes = await (await fetch('nodes')).json();
  if (nodes.length < 2) $('verdict').textContent = 'One node only: start with --nodes 2 to see clients move.';
  drawNodes();
  for (let place = 0; place < 2; place++) addPlayer();
  $('snippet').textContent = snippet();
  bind();
  speak();
  setInterval(watchNodes, 1000);
  setInterval(drawCounts, 250);
  const tick = () => {
    timeline.draw();
    requestAnimationFrame(tick);
  };
  tick();
  setTimeout(() => $('panes').querySelector('.cut')?.classList.add('hint'), 10000);
}

function addPlayer() {
  const place = players.length;
  const name = NAMES[place] ?? `guest ${place - 1}`;
  const pane = place < 2 ? drawPane(name, place) : undefined;
  const player = new Player(name, place % nodes.length, {
    urls: nodes.map((node) => node.url),
    topic,
    ledger,
    changed: (changed) => drawPlayer(changed, pane),
    heard: pane && ((message) => drawBubble(pane, name, message)),
  });
  player.avatar = make('span', { className: `avatar${place < 2 ? '' : ' small'}`, textContent: place < 2 ? name[0] : place - 1, title: name });
  player.avatar.style.setProperty('--hue', hueOf(place));
  if (place === 0) player.wire.seen = (way, data) => $('dialect').value === 'spark' && showFrame(way, data);
  players.push(player);
}

function drawNodes() {
  $('nodes').replaceChildren(...nodes.map((node, place) => {
    const kill = make('button', { type: 'button', textContent: 'kill node ☠', title: `Ends node ${letter(place)} at once; it comes back after three seconds` });
    kill.onclick = () => killNode(place);
    return make('div', { className: 'node', id: `node-${place}` },
      make('strong', { className: 'name', textContent: `Node ${letter(place)} :${new URL(node.url).port}` }),
      make('span', { className: 'here' }), kill);
  }));
}

function drawPane(name, place) {
  const pane = make('article', { className: 'pane', id: `pane-${name.toLowerCase()}` });
  const cut = make('button', { type: 'button', className: 'cut', textContent: '✂ cut wire' });
  const freeze = make('button', { type: 'button', textContent: 'freeze 5 s' });
  cut.onclick = () => {
    document.querySelectorAll('.hint').forEach((hinted) => hinted.classList.remove('hint'));
    players[place].cut(Number($('away').value));
  };
  freeze.onclick = () => players[place].wire.freeze(5000);
  pane.append(
    make('h2', {}, name, make('span', { className: 'state', textContent: 'connecting' })),
    make('ol', { ariaLabel: `What ${name} received` }),
    make('p', {}, cut, ' ', freeze),
  );
  pane.querySelector('p').style.margin = '0';
  $('panes').append(pane);
  return pane;
}

function drawPlayer(player, pane) {
  const { avatar } = player;
  if (pane) {
    const where = player.online ? `online at node ${letter(player.node)}${player.rtt === undefined ? '' : `, rtt ${Math.round(player.rtt)} ms`}` : player.state;
    const back = player.resumed ? `, resumed in ${Math.round(player.resumed.ms)} ms with ${player.resumed.replayCount} replayed` : '';
    pane.querySelector('.state').textContent = where + (player.online ? back : '');
    pane.classList.toggle('offline', !player.online);
  }
  if (player.resumed) $('resume').textContent = `${Math.round(player.resumed.ms)} ms`;
  if (!avatar) { queueMicrotask(() => player.avatar && drawPlayer(player, pane)); return; }
  const home = player.online && document.querySelector(`#node-${player.node} .here`);
  if (!home || avatar.parentElement === home) { avatar.style.opacity = player.online ? 1 : 0.35; return; }
  const before = avatar.isConnected && avatar.getBoundingClientRect();
  home.append(avatar);
  avatar.style.opacity = 1;
  if (!before || calm) return;
  const after = avatar.getBoundingClientRect();
  avatar.animate([{ transform: `translate(${before.x - after.x}px, ${before.y - after.y}px)` }, { transform: 'none' }], { duration: 500, easing: 'ease-in-out' });
}

function drawBubble(pane, name, { data, replayed }) {
  const list = pane.querySelector('ol');
  if (ledger.received % 10 && Number($('rate').value) > 30) return;
  list.append(make('li', { className: `${replayed ? 'replayed ' : ''}${data.by === name ? 'own' : ''}`, textContent: `${data.by}: ${data.text}${replayed ? ' (was missed)' : ''}` }));
  while (list.children.length > 6) list.firstChild.remove();
}

async function killNode(place) {
  const other = nodes.find((_, at) => at !== place) ?? nodes[place];
  const host = other.url.replace(/^ws/, 'http').replace(/\/ws$/, '');
  await fetch(`${host}/demo/nodes/${place + 1}/kill`, { method: 'POST' }).catch((error) => console.warn(error));
  watchNodes();
}

async function watchNodes() {
  for (const node of nodes) {
    const host = node.url.replace(/^ws/, 'http').replace(/\/ws$/, '');
    try {
      nodes = await (await fetch(`${host}/demo/nodes`, { signal: AbortSignal.timeout(900) })).json();
      nodes.forEach((seen, place) => $(`node-${place}`)?.classList.toggle('down', !seen.alive));
      return;
    } catch { /* that one is down: ask the next */ }
  }
}

const WORDS = ['hello', 'still there?', 'the train leaves', 'one more', 'did you see', 'and then', 'nothing lost', 'good'];
function speak() {
  const rate = Number($('rate').value);
  if (!paused) {
    const player = players[spoken % players.length];
    if (player.client.queued < 500) {
      const n = ++spoken;
      void player.say({ by: player.name, text: `${WORDS[n % WORDS.length]} (${n})`, at: Date.now() });
    } else spoken++;
  }
  setTimeout(speak, 1000 / rate);
}

function drawCounts() {
  const lost = ledger.lost();
  const p99 = ledger.p99();
  const shown = { sent: ledger.sent, received: ledger.received, replayed: ledger.replayed, lost, duplicates: ledger.duplicates, p99: p99 === undefined ? '–' : `${p99} ms` };
  for (const [id, value] of Object.entries(shown)) $(id).textContent = value;
  $('lost').parentElement.classList.toggle('broken', lost > 0);
  $('duplicates').parentElement.classList.toggle('broken', ledger.duplicates > 0);
  const bad = lost + ledger.duplicates + ledger.disorder;
  $('verdict').textContent = bad
    ? `Broken: ${lost} lost, ${ledger.duplicates} twice, ${ledger.disorder} out of order. Please save the trace.`
    : `${ledger.replayed ? 'Every message once and in order, through every cut so far.' : 'Cut a wire: watch the client move to the other node.'}${ledger.reported ? ` The nodes reported ${ledger.reported} gaps.` : ''}`;
}

function showFrame(way, data) {
  frames.push(`${way === 'in' ? '←' : '→'} ${typeof data === 'string' ? data : '(binary)'}`);
  if (frames.length > 40) frames.splice(0, frames.length - 40);
}

function snippet() {
  return `import { Sparkway } from 'sparkway';

const rt = new Sparkway([${nodes.map((node) => `'${node.url}'`).join(', ')}]);
rt.connect();
const room = rt.topic('${topic}');
room.on('message', ({ data, replayed }) => console.log(data.text, replayed));
await room.publish({ by: 'me', text: 'hello' });`;
}

function bind() {
  for (const id of ['rate', 'clients', 'away']) {
    const output = document.querySelector(`output[for=${id}]`);
    $(id).oninput = () => {
      output.textContent = $(id).value;
      if (id !== 'clients') return;
      while (players.length < Number($(id).value)) addPlayer();
      while (players.length > Number($(id).value)) {
        const player = players.pop();
        player.avatar.remove();
        player.leave();
      }
    };
  }
  $('pause').onclick = () => {
    paused = !paused;
    $('pause').textContent = paused ? 'go on' : 'pause';
    $('pause').setAttribute('aria-pressed', paused);
  };
  $('trace').onclick = () => {
    const link = make('a', { href: URL.createObjectURL(new Blob([JSON.stringify(ledger.trace())], { type: 'application/json' })), download: 'sparkway-trace.json' });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  $('copy').onclick = async () => {
    await navigator.clipboard?.writeText($('snippet').textContent);
    $('copy').textContent = 'copied';
    setTimeout(() => { $('copy').textContent = 'copy'; }, 1500);
  };
  $('dialect').onchange = () => {
    stopDialect();
    frames.length = 0;
    const begin = dialects[$('dialect').value];
    stopDialect = begin ? begin({ base: nodes[nodes.length > 1 ? 1 : 0].url.replace(/\/ws$/, ''), room, topic, show: showFrame }) : () => {};
  };
  setInterval(() => {
    const text = frames.join('\n');
    if ($('frames').textContent === text) return;
    $('frames').textContent = text;
    $('frames').scrollTop = $('frames').scrollHeight;
  }, 200);
}

// For whoever wants to look into the books from outside.
globalThis.demo = { ledger, players };
start();
