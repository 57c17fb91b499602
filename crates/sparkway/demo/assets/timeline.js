// One lane per client, one mark per message, time to the right.

const WINDOW_MS = 30000;

/** Draws the last half minute of the books. */
export class Timeline {
  constructor(canvas, ledger) {
    this.canvas = canvas;
    this.ledger = ledger;
    this.pen = canvas.getContext('2d');
  }

  colours() {
    const style = getComputedStyle(document.documentElement);
    const probe = (name) => {
      this.canvas.style.color = `var(${name})`;
      return getComputedStyle(this.canvas).color;
    };
    return { style, ink: probe('--ink'), dim: probe('--dim'), line: probe('--line'), live: probe('--live'), replayed: probe('--replayed'), bad: probe('--bad'), warm: probe('--warm') };
  }

  draw(now = Date.now()) {
    const { canvas, pen, ledger } = this;
    const ratio = devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (canvas.width !== width * ratio || canvas.height !== height * ratio) {
      canvas.width = width * ratio;
      canvas.height = height * ratio;
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const colour = this.colours();
    const lanes = [...ledger.lanes.values()];
    const step = height / Math.max(lanes.length, 1);
    const left = 54;
    const x = (at) => left + ((at - now + WINDOW_MS) / WINDOW_MS) * (width - left - 6);
    const shown = this.recent(now);
    lanes.forEach((lane, row) => {
      const y = step * (row + 0.5);
      const size = Math.max(1.5, Math.min(5, step / 5));
      pen.fillStyle = colour.dim;
      pen.font = `${Math.min(12, Math.max(7, step * 0.7))}px system-ui`;
      pen.textBaseline = 'middle';
      pen.fillText(lane.name, 2, y);
      this.offline(lane, y, Math.max(2, step * 0.6), x, now, colour);
      for (const message of shown) this.mark(ledger.state(lane, message), x(message.at), y, size, colour);
      for (const { at, to } of lane.moves) {
        if (at < now - WINDOW_MS) continue;
        pen.fillStyle = colour.warm;
        pen.fillRect(x(at), y - step * 0.42, 2, step * 0.84);
        if (step > 16) pen.fillText(`→ ${to}`, x(at) + 4, y - step * 0.3);
      }
    });
  }

  recent(now) {
    const { messages } = this.ledger;
    let from = messages.length;
    while (from > 0 && messages[from - 1].at > now - WINDOW_MS) from--;
    return messages.slice(from);
  }

  offline(lane, y, height, x, now, colour) {
    for (const span of lane.offline) {
      const end = span.end ?? now;
      if (end < now - WINDOW_MS) continue;
      this.pen.globalAlpha = 0.16;
      this.pen.fillStyle = colour.warm;
      const begin = Math.max(span.begin, now - WINDOW_MS);
      this.pen.fillRect(x(begin), y - height / 2, x(end) - x(begin), height);
      this.pen.globalAlpha = 1;
    }
  }

  mark(state, x, y, size, colour) {
    const { pen } = this;
    if (state === 'before') return;
    pen.beginPath();
    if (state === 'lost') {
      pen.strokeStyle = colour.bad;
      pen.lineWidth = 2.5;
      pen.moveTo(x - size, y - size);
      pen.lineTo(x + size, y + size);
      pen.moveTo(x + size, y - size);
      pen.lineTo(x - size, y + size);
      pen.stroke();
      return;
    }
    pen.arc(x, y, state === 'waiting' ? size / 2.5 : size, 0, 7);
    if (state === 'replayed') {
      pen.strokeStyle = colour.replayed;
      pen.lineWidth = 1.6;
      pen.stroke();
    } else {
      pen.fillStyle = state === 'live' ? colour.live : colour.dim;
      pen.fill();
    }
  }
}
