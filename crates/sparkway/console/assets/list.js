// A list of any length: pages come as they are scrolled to, and only the rows in sight are drawn.

const ROW = 28;
const PAGE = 500;
/** Rows that are drawn beyond the edge, so that scrolling shows no gap. */
const BEYOND = 8;

export class List {
  /**
   * @param {object} how `path(cursor, limit)` of the next page, `cells(item)` of a row, `heads`,
   * `columns` (widths), `open(item)`, `read(path)`.
   */
  constructor(how) {
    this.how = how;
    this.items = [];
    this.next = '';
    this.reading = false;
    this.at = -1;
    this.root = document.createElement('div');
    this.root.style.setProperty('--columns', how.columns);
    const heads = document.createElement('div');
    heads.className = 'heads';
    heads.append(...how.heads.map((text) => Object.assign(document.createElement('span'), { textContent: text })));
    this.box = document.createElement('div');
    this.box.className = 'list';
    this.box.tabIndex = 0;
    this.box.setAttribute('role', 'listbox');
    this.box.setAttribute('aria-label', how.label);
    this.all = document.createElement('div');
    this.all.className = 'all';
    this.box.append(this.all);
    this.count = document.createElement('p');
    this.count.className = 'dim';
    this.count.setAttribute('aria-live', 'polite');
    this.root.append(heads, this.box, this.count);
    this.box.addEventListener('scroll', () => this.draw());
    this.box.addEventListener('keydown', (event) => this.press(event));
    this.size = new ResizeObserver(() => this.draw());
    this.size.observe(this.box);
  }

  /** Reads the first page anew. */
  async reload() {
    this.items = [];
    this.next = '';
    this.at = -1;
    this.box.scrollTop = 0;
    await this.more();
  }

  /** Reads on until the rows in sight are there. A page may be short and still go on. */
  async more() {
    if (this.reading) return;
    this.reading = true;
    try {
      while (this.next !== null && this.items.length < this.wanted()) {
        const page = await this.how.read(this.how.path(this.next, PAGE));
        this.items.push(...page.items);
        this.next = page.next ?? null;
        this.draw();
      }
    } finally {
      this.reading = false;
    }
    this.draw();
  }

  wanted() {
    return Math.ceil((this.box.scrollTop + this.box.clientHeight) / ROW) + PAGE / 2;
  }

  draw() {
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW) - BEYOND);
    const last = Math.min(this.items.length, Math.ceil((this.box.scrollTop + this.box.clientHeight) / ROW) + BEYOND);
    this.all.style.height = `${this.items.length * ROW}px`;
    const rows = [];
    for (let at = first; at < last; at++) rows.push(this.row(at));
    this.all.replaceChildren(...rows);
    const more = this.next === null ? '' : ', more below';
    this.count.textContent = `${this.items.length} ${this.how.label.toLowerCase()}${more}`;
    if (!this.reading && this.next !== null && this.items.length < this.wanted()) this.more().catch(this.how.fail);
  }

  row(at) {
    const row = document.createElement('div');
    row.className = 'row';
    row.id = `row-${at}`;
    row.style.top = `${at * ROW}px`;
    row.setAttribute('role', 'option');
    row.setAttribute('aria-selected', String(at === this.at));
    row.setAttribute('aria-posinset', String(at + 1));
    row.append(
      ...this.how.cells(this.items[at]).map((cell) => {
        const part = document.createElement('span');
        part.textContent = cell;
        part.title = cell;
        return part;
      }),
    );
    row.addEventListener('click', () => this.how.open(this.items[at]));
    return row;
  }

  press(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 20, PageUp: -20, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === 'Enter' && this.items[this.at]) {
      this.how.open(this.items[this.at]);
      return;
    }
    if (step === undefined || !this.items.length) return;
    event.preventDefault();
    this.at = Math.max(0, Math.min(this.items.length - 1, this.at + step));
    const top = this.at * ROW;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    if (top + ROW > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top + ROW - this.box.clientHeight;
    this.draw();
    this.box.setAttribute('aria-activedescendant', `row-${this.at}`);
  }

  close() {
    this.size.disconnect();
  }
}
