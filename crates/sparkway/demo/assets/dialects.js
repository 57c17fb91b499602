// The same room, read in another dialect, on the second node: each function opens what that dialect
// needs, shows its frames, and returns how to end it.

function follow(url, show, greet = () => {}) {
  let ended = false;
  let socket;
  let timer;
  const dial = () => {
    socket = new WebSocket(url);
    const say = (frame) => {
      const text = typeof frame === 'string' ? frame : JSON.stringify(frame);
      show('out', text);
      socket.send(text);
    };
    socket.onopen = () => greet(say, socket);
    socket.onmessage = ({ data }) => show('in', data);
    socket.onclose = ({ code, reason }) => {
      show('in', `closed ${code} ${reason}`);
      if (!ended) timer = setTimeout(dial, 1500);
    };
  };
  dial();
  return () => {
    ended = true;
    clearTimeout(timer);
    socket.close();
  };
}

const json = async (url, body, token) => {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  return answer.json();
};

export const dialects = {
  topics: ({ base, topic, show }) => follow(`${base}/ws/topics`, show, (say) => say({ type: 'subscribe', topics: [topic] })),

  room: ({ base, room, show }) => follow(`${base}/ws/room/${room}`, show),
};
