// The HTTP API of the node that serves this page, and nothing else.

/** A refusal, in the words of the node. */
export class Refused extends Error {
  constructor(problem) {
    super(problem.detail ?? problem.title ?? 'refused');
    this.problem = problem;
  }
}

let key = sessionStorage.getItem('key') ?? '';
export const hasKey = () => key !== '';
export const setKey = (text) => {
  key = text;
  if (text) sessionStorage.setItem('key', text);
  else sessionStorage.removeItem('key');
};

const headers = (more = {}) => (key ? { ...more, authorization: `Bearer ${key}` } : more);

async function refusal(response) {
  const problem = await response.json().catch(() => ({ detail: `the node answers ${response.status}` }));
  return new Refused({ status: response.status, ...problem });
}

/** One request; `null` where the answer has no body. */
export async function ask(method, path, body, signal) {
  const response = await fetch(path, {
    method,
    signal,
    cache: 'no-store',
    headers: headers(body === undefined ? {} : { 'content-type': 'application/json' }),
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!response.ok) throw await refusal(response);
  return response.status === 204 ? null : response.json();
}

export const get = (path, signal) => ask('GET', path, undefined, signal);

/** The events of topics as they happen, until `signal` ends it. */
export async function* events(topics, signal) {
  const query = new URLSearchParams(topics.map((topic) => ['topic', topic]));
  const response = await fetch(`/v1/events?${query}`, { signal, headers: headers({ accept: 'text/event-stream' }), cache: 'no-store' });
  if (!response.ok) throw await refusal(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    waiting += value;
    const parts = waiting.split('\n\n');
    waiting = parts.pop();
    for (const part of parts) {
      const fields = Object.fromEntries(part.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]));
      if (fields.event) yield { event: fields.event, data: JSON.parse(fields.data) };
    }
  }
}
