// Views and the way between them. Everything comes from /v1 of this node.
import { Refused, ask, events, get, hasKey, setKey } from './api.js';
import { el, facts, quoted, short, time } from './dom.js';
import { List } from './list.js';

const $ = (id) => document.getElementById(id);
const view = $('view');
/** Messages of a live tail that stay on the page. */
const TAIL = 200;
let leaving = new AbortController();
let lists = [];

const command = (text) => {
  $('command').textContent = text;
};
const path = (...parts) => parts.map(encodeURIComponent).join('/');

function fail(error) {
  if (error.name === 'AbortError') return;
  if (error instanceof Refused && error.problem.status === 401) {
    login(hasKey() ? 'The node does not know this key.' : '');
    return;
  }
  $('trouble').textContent = error instanceof Refused ? error.message : `The node does not answer: ${error.message}`;
  $('trouble').hidden = false;
}

function login(text) {
  setKey('');
  leaving.abort();
  view.replaceChildren();
  $('login').hidden = false;
  $('leave').hidden = true;
  $('trouble').textContent = text;
  $('trouble').hidden = !text;
  $('key').focus();
}

/** Does something again and again, until the view is left. */
async function every(ms, work, signal) {
  while (!signal.aborted) {
    try {
      await work();
      $('trouble').hidden = true;
    } catch (error) {
      fail(error);
    }
    await new Promise((done) => setTimeout(done, ms));
  }
}

/** A button that does something to the cluster, after a second look. */
const doing = (text, ask_, work) =>
  el('button', {
    class: 'bad',
    onclick: async (event) => {
      if (!confirm(ask_)) return;
      event.target.disabled = true;
      try {
        await work();
      } catch (error) {
        fail(error);
      }
      event.target.disabled = false;
    },
  }, text);

function listOf(label, heads, columns, of) {
  const list = new List({ label, heads, columns, read: (where) => get(where, leaving.signal), fail, ...of });
  lists.push(list);
  return list;
}

const views = {
  nodes(signal) {
    command('sparkway nodes');
    const tiles = el('div', { class: 'tiles' });
    view.append(el('h2', {}, 'Nodes'), tiles);
    every(2000, async () => {
      const { items } = await get('/v1/nodes', signal);
      const most = Math.max(1, ...items.map((node) => node.connections));
      tiles.replaceChildren(
        ...items.map((node) =>
          el('div', { class: `tile ${node.state}`, 'data-node': node.node },
            el('strong', {}, node.node, node.answers ? ' (this one)' : ''),
            el('b', {}, node.connections.toLocaleString('en')),
            el('span', { class: 'dim' }, `connections · ${node.state}`),
            el('div', { class: 'meter' }, Object.assign(el('i'), { style: `width:${(100 * node.connections) / most}%` })),
            el('p', {},
              el('a', { href: `#sessions?node=${encodeURIComponent(node.node)}` }, 'Sessions'), ' ',
              doing('Drain', `Send the clients of ${node.node} away and end it?`, () => {
                command(`sparkway drain ${quoted(node.node)} --wait`);
                return ask('POST', `/v1/nodes/${path(node.node)}/drain`);
              }),
            ),
          ),
        ),
      );
    }, signal);
  },

  topics() {
    const prefix = el('input', { id: 'prefix', type: 'search', placeholder: 'begins with', 'aria-label': 'Begins with' });
    const list = listOf('Topics', ['topic', 'kept', 'newest id'], '1fr 90px 190px', {
      path: (cursor, limit) => `/v1/topics?limit=${limit}&prefix=${encodeURIComponent(prefix.value)}${cursor && `&cursor=${cursor}`}`,
      cells: (topic) => [topic.topic, String(topic.entries), topic.last_id],
      open: (topic) => {
        location.hash = `topics/${encodeURIComponent(topic.topic)}`;
      },
    });
    const load = () => {
      command(prefix.value ? `sparkway top --sort msgs | grep ${quoted(prefix.value)}` : 'sparkway top --sort msgs');
      return list.reload().catch(fail);
    };
    prefix.addEventListener('change', load);
    view.append(el('div', { class: 'bar' }, el('h2', {}, 'Topics'), el('span', { class: 'fill' }), prefix, el('button', { onclick: load }, 'Read again')), list.root);
    load();
  },

  async topic(signal, name) {
    command(`sparkway sub ${quoted(name)} --since 0`);
    const where = `/v1/topics/${path(name)}`;
    const about = el('div', { class: 'card' });
    const tail = el('ol', { class: 'tail', id: 'tail', 'aria-live': 'off', reversed: true });
    const state = el('span', { class: 'dim', id: 'tail-state' }, 'connecting');
    const people = el('div', { class: 'card', hidden: true });
    view.append(
      el('h2', {}, name),
      about,
      el('div', { class: 'bar' }, el('a', { href: `#sessions?topic=${encodeURIComponent(name)}` }, 'Who receives it'), el('a', { href: `#publish?topic=${encodeURIComponent(name)}` }, 'Publish here')),
      people,
      el('div', { class: 'card' }, el('div', { class: 'bar' }, el('strong', {}, 'Live'), state), tail),
    );
    const show = (message, fresh) => {
      tail.prepend(el('li', { class: fresh ? 'mono fresh' : 'mono' }, el('span', { class: 'dim' }, message.ts ? time(message.ts) : 'not kept'), el('span', { class: 'dim' }, message.from ?? ''), el('span', {}, short(message.data))));
      while (tail.children.length > TAIL) tail.lastChild.remove();
    };
    every(3000, async () => {
      const topic = await get(where, signal).catch((error) => {
        if (error instanceof Refused && error.problem.status === 404) return { topic: name, entries: 0, node_subscribers: 0 };
        throw error;
      });
      about.replaceChildren(
        facts([
          ['kept', `${topic.entries} of ${topic.history_entries ?? '?'}, for ${(topic.history_age_ms ?? 0) / 1000} s`],
          ['first id', topic.first_id],
          ['newest id', topic.last_id],
          ['receivers on this node', topic.node_subscribers],
        ]),
      );
      await presence(where, people, signal);
    }, signal);
    try {
      const { messages } = await get(`${where}/history?order=desc&limit=20`, signal);
      messages.reverse().forEach((message) => show(message, false));
      for await (const { event, data } of events([name], signal)) {
        if (event === 'hello') state.textContent = 'live';
        else if (event === 'message') show(data, true);
        else if (event === 'dropped') state.textContent = 'dropped: this page was too slow; open the topic again';
      }
      if (!signal.aborted && state.textContent === 'live') state.textContent = 'ended by the node';
    } catch (error) {
      state.textContent = 'not live';
      fail(error);
    }
  },

  sessions(signal, _, query) {
    const user = el('input', { type: 'search', id: 'user', placeholder: 'user', 'aria-label': 'User', value: query.get('user') ?? '' });
    const node = el('input', { type: 'search', placeholder: 'node', 'aria-label': 'Node', value: query.get('node') ?? '' });
    const topic = el('input', { type: 'search', placeholder: 'topic', 'aria-label': 'Topic', value: query.get('topic') ?? '' });
    const state = el('select', { 'aria-label': 'State' }, el('option', { value: '' }, 'any state'), el('option', {}, 'attached'), el('option', {}, 'detached'));
    const filters = { user, node, topic, state };
    const list = listOf('Sessions', ['session', 'user', 'node', 'state', 'dialect', 'topics', 'queue'], '300px 1fr 1fr 80px 100px 50px 70px', {
      path: (cursor, limit) => {
        const wanted = Object.entries(filters).filter(([, field]) => field.value);
        const asked = new URLSearchParams([['limit', limit], ...wanted.map(([name, field]) => [name, field.value]), ...(cursor ? [['cursor', cursor]] : [])]);
        return `/v1/sessions?${asked}`;
      },
      cells: (one) => [one.session, one.user ?? '', one.node, one.state, one.dialect, String(one.topics), one.queue_bytes === undefined ? '' : String(one.queue_bytes)],
      open: (one) => {
        location.hash = `sessions/${one.session}`;
      },
    });
    const load = () => {
      const words = Object.entries(filters).filter(([, field]) => field.value).map(([name, field]) => ` --${name} ${quoted(field.value)}`);
      command(`sparkway sessions ls${words.join('')}`);
      return list.reload().catch(fail);
    };
    for (const field of Object.values(filters)) field.addEventListener('change', load);
    view.append(el('div', { class: 'bar' }, el('h2', {}, 'Sessions'), el('span', { class: 'fill' }), user, node, topic, state, el('button', { onclick: load }, 'Read again')), list.root);
    load();
  },

  session(signal, id) {
    command(`sparkway sessions show ${id}`);
    const about = el('div', { class: 'card' });
    const where = `/v1/sessions/${path(id)}`;
    view.append(
      el('div', { class: 'bar' }, el('h2', {}, 'Session'), el('span', { class: 'fill' }),
        doing('End it', 'End this session? Its client is told to stay away.', async () => {
          await ask('DELETE', where);
          command(`sparkway sessions kick ${id}`);
          location.hash = 'sessions';
        }),
      ),
      about,
    );
    every(2000, async () => {
      const one = await get(where, signal);
      about.replaceChildren(
        facts([
          ['session', one.session],
          ['user', one.user],
          ['node', one.node],
          ['state', one.state],
          ['dialect', one.dialect],
          ['owners so far', one.epoch],
          ['credential ends', one.expires_at && new Date(one.expires_at).toISOString()],
          ['bytes that wait', one.queue_bytes],
        ]),
        el('h2', {}, 'Position against head'),
        ...one.positions.map((position) => {
          const behind = position.acknowledged ? behindMs(position.acknowledged, position.head) : null;
          return facts([
            [`partition ${position.partition}`, behind === null ? 'nothing acknowledged in the store yet' : `${(behind / 1000).toFixed(1)} s behind, as last stored`],
            ['acknowledged', position.acknowledged],
            ['head', position.head],
          ]);
        }),
        el('h2', {}, `Topics (${one.subscriptions.length})`),
        facts(one.subscriptions.map((held) => [held.topic, `since ${held.start}`])),
      );
    }, signal);
  },

  publish(signal, _, query) {
    const topic = el('input', { id: 'topic', required: true, value: query.get('topic') ?? '', autocomplete: 'off' });
    const data = el('textarea', { id: 'data', spellcheck: 'false' }, '{"text":"hello"}');
    const id = el('input', { id: 'id', placeholder: 'names it: repeated, it is stored once', autocomplete: 'off' });
    const out = el('pre', { id: 'outcome', 'aria-live': 'polite' });
    const curl = el('pre', { id: 'curl' });
    const body = () => ({ topic: topic.value, data: JSON.parse(data.value), ...(id.value ? { id: id.value } : {}) });
    const tell = () => {
      let text;
      try {
        text = JSON.stringify(body());
        data.setCustomValidity('');
      } catch {
        data.setCustomValidity('no JSON');
        return;
      }
      const auth = hasKey() ? ' -H "Authorization: Bearer $SPARKWAY_API_KEY"' : '';
      curl.textContent = `curl -s ${location.origin}/v1/publish${auth} -d ${quoted(text)}`;
      command(`sparkway pub ${quoted(topic.value || 'TOPIC')} ${quoted(JSON.stringify(JSON.parse(data.value)))}`);
    };
    const form = el('form', {
      class: 'fields card',
      oninput: tell,
      onsubmit: async (event) => {
        event.preventDefault();
        try {
          out.textContent = JSON.stringify(await ask('POST', '/v1/publish', body(), signal));
          $('trouble').hidden = true;
        } catch (error) {
          out.textContent = '';
          fail(error);
        }
      },
    }, el('label', {}, 'Topic', topic), el('label', {}, 'Data (JSON)', data), el('label', {}, 'Id', id), el('div', { class: 'bar' }, el('button', {}, 'Publish')), out);
    view.append(el('h2', {}, 'Publish'), form, el('div', { class: 'card' }, el('strong', {}, 'The same with curl'), curl));
    tell();
    topic.focus();
  },

  hooks(signal) {
    command("curl -s localhost:9000/metrics | grep '^sparkway_hook'");
    const cards = el('div', { id: 'hooks' });
    const waiting = el('p', { class: 'dim' });
    view.append(el('h2', {}, 'Hooks'), cards, waiting);
    every(2000, async () => {
      const { items, events_waiting: events } = await get('/v1/hooks', signal);
      cards.replaceChildren(
        ...(items.length ? items : [null]).map((hook) =>
          hook === null
            ? el('p', {}, 'No hook is set: this node asks no backend.')
            : el('div', { class: 'card', 'data-hook': hook.hook },
                el('strong', {}, hook.hook),
                facts([
                  ['backend', hook.left_alone ? 'left alone: it failed too often' : 'asked'],
                  ['mean time', hook.mean_ms === undefined ? 'not asked yet' : `${hook.mean_ms.toFixed(1)} ms`],
                  ...hook.results.map(({ result, count }) => [result, count.toLocaleString('en')]),
                ]),
              ),
        ),
      );
      waiting.textContent = `Events that wait: ${events.toLocaleString('en')}. All of it as this node sees it, since it started.`;
    }, signal);
  },

  async config(signal) {
    command('sparkway config show');
    const find = el('input', { type: 'search', placeholder: 'find', 'aria-label': 'Find' });
    const table = el('pre', { id: 'settings' });
    view.append(el('div', { class: 'bar' }, el('h2', {}, 'Effective configuration'), el('span', { class: 'fill' }), find), el('div', { class: 'card' }, table), el('p', { class: 'dim' }, 'Secrets are hidden. Behind each value: where it was written.'));
    try {
      const { items } = await get('/v1/config', signal);
      const draw = () => {
        table.textContent = items.filter((one) => one.key.includes(find.value)).map((one) => `${one.key} = ${one.value}  # ${one.origin}`).join('\n');
      };
      find.addEventListener('input', draw);
      draw();
    } catch (error) {
      fail(error);
    }
  },
};

/** Message ids are time: the milliseconds between two of them. */
const behindMs = (older, newer) => Math.max(0, Math.floor((Number(newer) - Number(older)) / 4096));

/** Who is in a topic, where the node says it. */
async function presence(where, card, signal) {
  try {
    const found = await get(`${where}/presence`, signal);
    const names = (found.users ?? []).map((one) => one.user ?? one);
    card.replaceChildren(el('strong', {}, `Present: ${found.count ?? names.length}`), el('p', {}, names.slice(0, 200).join(', ')));
    card.hidden = false;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    card.hidden = true;
  }
}

function route() {
  leaving.abort();
  leaving = new AbortController();
  lists.forEach((list) => list.close());
  lists = [];
  $('trouble').hidden = true;
  view.replaceChildren();
  const [where, asked = ''] = (location.hash.slice(1) || 'nodes').split('?');
  const [name, item] = where.split('/');
  document.querySelectorAll('nav a').forEach((link) => {
    if (link.hash === `#${name}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  });
  const one = { topics: 'topic', sessions: 'session' }[name];
  const shown = views[item && one ? one : name] ?? views.nodes;
  shown(leaving.signal, item && decodeURIComponent(item), new URLSearchParams(asked));
}

async function enter() {
  try {
    const info = await get('/v1/info');
    $('login').hidden = true;
    $('leave').hidden = !hasKey();
    $('where').textContent = `${info.node} · ${info.version} · ${info.state}`;
    route();
  } catch (error) {
    fail(error);
  }
}

$('login').addEventListener('submit', (event) => {
  event.preventDefault();
  setKey($('key').value.trim());
  $('key').value = '';
  enter();
});
$('leave').addEventListener('click', () => login(''));
$('copy').addEventListener('click', () => navigator.clipboard?.writeText($('command').textContent));
addEventListener('hashchange', route);
addEventListener('keydown', (event) => {
  if (event.target.matches('input, textarea, select') || event.ctrlKey || event.metaKey || event.altKey) return;
  const to = { 1: 'nodes', 2: 'topics', 3: 'sessions', 4: 'publish', 5: 'hooks', 6: 'config' }[event.key];
  if (to) location.hash = to;
  if (event.key === '/') {
    event.preventDefault();
    view.querySelector('input[type=search]')?.focus();
  }
});
enter();
