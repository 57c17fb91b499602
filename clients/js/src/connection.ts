import { delayOf, nextAfter } from './backoff.js';
import type { Frame } from './codec.js';
import type { Close, ConnectionHost, ConnectionSettings, How, Session, State } from './contract.js';
import { refusal, SparkwayError } from './errors.js';
import { Timers } from './timers.js';
import { expiryOf, fetchToken, type TokenReason } from './token.js';
import { Wire } from './wire.js';

/** An attempt that was given up before its answer may still take the session over so much later. */
const STRAY_RESUME_MS = 30_000;
/** A link that held so long starts the backoff anew. */
const STEADY_MS = 5_000;
const SOON_MS = 250;

/**
 * Keeps one session alive over one socket after another: handshake, heartbeats, backoff, server hints.
 * What the frames mean is its client's business.
 */
export class Connection {
  state: State = 'idle';
  session?: Session;
  attempt = 0;
  node?: string;
  user?: string;
  rtt?: number;
  _retryAt?: number;
  lastClose?: Close;
  /** Largest message the node takes, in bytes. */
  _maxBytes = Infinity;

  private _wire: Wire;
  private _turn = 0;
  private _abort?: AbortController;
  private _place: number;
  private _timers = new Timers();
  private _interval = 25_000;
  private _beatAt = 0;
  private _heard = 0;
  private _onlineAt = 0;
  private _comeBack = 0;
  private _farewell?: Close;
  private _refused?: SparkwayError;
  private _credential?: string;
  private _reason: TokenReason = 'initial';
  private _resuming = false;
  private _lost = false;
  private _strayUntil = 0;

  constructor(
    private _settings: ConnectionSettings,
    private _host: ConnectionHost,
  ) {
    this._place = Math.floor(Math.random() * 1024);
    this._wire = new Wire(
      {
        opened: () => this._opened(),
        received: (bytes) => this._received(bytes),
        closed: (code, reason) => this._down(code, reason),
      },
      _settings.webSocket,
    );
  }

  /** Starts, or starts over after a stop. */
  start(): void {
    if (this.state === 'idle' || this.state === 'closed') {
      this.attempt = 0;
      this._enter('connecting');
      void this._dial();
    }
  }

  /** Leaves: with `end` the session is over, without it any node can resume it. */
  leave(end: boolean, state: 'idle' | 'closed'): void {
    if (this._wire._isOpen) {
      const [code, reason] = end ? [1000, 'Client close'] : [3000, 'Client disconnect'];
      this.send({ type: 'ws:close', data: { code, reason, resume: !end } });
      this._wire.close(code, reason);
    } else this._wire.close(0, '');
    this._settle();
    if (end) this.session = undefined;
    this._enter(state);
  }

  /** Sends a frame; with `expectsAnswer` silence from then on is watched. */
  send(frame: Frame, expectsAnswer = false): boolean {
    this._settings.trace?.('out', frame);
    return this._sendBytes(this._settings.codec.encode(frame), expectsAnswer);
  }

  /** Sends an encoded frame. */
  _sendBytes(bytes: string | Uint8Array, expectsAnswer: boolean): boolean {
    if (!this._wire.send(bytes)) return false;
    if (expectsAnswer) this._watchFor();
    return true;
  }

  /** Something woke us (network back, page shown): try now, or look whether the link still lives. */
  _nudge(): void {
    if (this._retryAt) void this._dial();
    // A ping, not a heartbeat: it may come as often as the network changes. A link that lives answers soon.
    else if (this.state === 'online') this._ask({ type: 'ws:ping', id: 'wake' }, this._settings.timeouts.ack / 4);
  }

  /** Drops the socket without a goodbye and resumes: the page froze, the network changed. */
  drop(reason: string): void {
    if (this._wire._isOpen) this._wire.drop(reason);
  }

  /** Fetches a token and hands it to the server. */
  async refresh(reason: TokenReason = 'expired'): Promise<void> {
    const turn = this._turn;
    try {
      const token = await fetchToken(this._settings.token, reason, this._signal());
      if (turn !== this._turn || !token) return;
      this._credential = token;
      this._host._renewed(token);
    } catch (error) {
      if (turn !== this._turn) return;
      this._host._failed(thrown(error));
      this._timers.set('renew', STEADY_MS, () => void this.refresh());
    }
  }

  /** Notes when the credential runs out, and renews it before. */
  _renewBefore(expires: number | undefined): void {
    this._timers.clear('renew');
    if (this.session) this.session.expires = expires;
    if (!expires || typeof this._settings.token !== 'function') return;
    const left = expires - Date.now();
    const delay = Math.min(Math.max(left - 60_000, left * 0.8, 1_000), 2 ** 31 - 1);
    this._timers.set('renew', delay, () => void this.refresh());
  }

  private _enter(state: State): void {
    this.state = state;
    this._host._changed();
  }

  private _signal(): AbortSignal {
    return (this._abort ??= new AbortController()).signal;
  }

  /** Ends what belongs to the present socket or attempt: timers, a pending token. */
  private _settle(): void {
    this._turn++;
    this._abort?.abort();
    this._abort = undefined;
    this._timers.clearAll();
    this._retryAt = undefined;
  }

  private async _dial(): Promise<void> {
    this._settle();
    const turn = this._turn;
    try {
      if (!this.session || this._reason !== 'initial') await this._fetchCredential();
      const { url } = this._settings;
      const target = typeof url === 'function' ? await url(this.attempt) : ([] as string[]).concat(url);
      if (turn !== this._turn) return;
      this._host._changed();
      this._wire.open(
        typeof target === 'string' ? target : target[this._place % target.length]!,
        [this._settings.codec.protocol],
        this._settings.timeouts.connect,
      );
    } catch (error) {
      if (turn === this._turn) this._failed(error);
    }
  }

  private async _fetchCredential(): Promise<void> {
    this._credential = await fetchToken(this._settings.token, this._reason, this._signal());
  }

  private _failed(cause: unknown): void {
    const error = thrown(cause);
    if (!error.retryable) return this._stop(error);
    this._host._failed(error);
    this._down(1006, error.message);
  }

  private _opened(): void {
    this._timers.set('answer', this._settings.timeouts.connect, () => this._wire.drop('handshake timeout'));
    if (!this.session) return this._connect();
    this._resuming = true;
    this.send({
      type: 'ws:resume',
      data: { session_id: this.session.id, heartbeat_token: this.session.token, last_message_id: this._settings.cursor.wire() },
    });
  }

  private _connect(): void {
    const token = this._credential;
    this.send({ type: 'ws:connect', data: token ? { token } : {} });
  }

  private _received(bytes: string | ArrayBuffer): void {
    this._heard++;
    let frame: Frame;
    try {
      frame = this._settings.codec.decode(bytes);
    } catch (cause) {
      this._host._failed(new SparkwayError('malformed', 'unreadable frame', true, undefined, cause));
      return this._wire.drop('malformed frame');
    }
    this._settings.trace?.('in', frame);
    const data = frame.data ?? {};
    if (frame.id?.[0] === 'c') this.send({ type: 'ws:ack', data: { ackId: frame.id } }); // a control frame
    switch (frame.type) {
      case 'ws:connect_ack':
        return this._welcomed(this._lost ? 'lost' : 'new', data);
      case 'ws:resume_ack':
        return this._welcomed('resumed', data);
      case 'ws:resume_failed':
        return this._resumeFailed(data.reason);
      case 'ws:heartbeat_ack':
        this.rtt = Date.now() - this._beatAt;
        return this._adopt(data.updated_token, data.updated_heartbeat_interval);
      case 'ws:drain':
        return this._moveAfter(data.reconnect_after ?? 0);
      case 'ws:close':
        this._farewell = data;
        this._comeBack = Date.now() + (data.retry_after ?? 0);
        if (data.resume === false) this._loseSession();
        return;
    }
    if (frame.type === 'ws:error' && this.state !== 'online') this._refused = refusal(data);
    else this._host._frame(frame);
    if (this.state === 'online' && Date.now() - this._beatAt > this._interval) this._heartbeat(); // timers of hidden pages are late
  }

  private _adopt(token?: string | null, interval?: number | null): void {
    if (token && this.session) this.session.token = token;
    if (interval && interval !== this._interval) {
      this._interval = interval;
      this._schedule(interval);
    }
  }

  private _welcomed(how: How, data: any): void {
    this._timers.clear('answer');
    const expires = how === 'resumed' ? this.session?.expires : expiryOf(this._credential);
    const gateway = data.gateway ?? {};
    this.session = { id: data.session_id, token: data.heartbeat_token };
    this.node = gateway.node;
    this.user = gateway.user;
    this._maxBytes = gateway.max_message_bytes ?? Infinity;
    this._resuming = this._lost = false;
    this._refused = this._farewell = undefined;
    this._onlineAt = this._beatAt = Date.now();
    this._interval = data.heartbeat_interval ?? this._interval;
    this._schedule(Math.random() * this._interval);
    this._renewBefore(expires);
    this.state = 'online';
    if (how === 'resumed' && this._reason !== 'initial' && this._credential) this._host._renewed(this._credential);
    this._reason = 'initial';
    this._host._online(how, data);
    this._host._changed();
  }

  private _resumeFailed(reason: string): void {
    this._resuming = false;
    if (reason === 'unavailable') return this._wire.drop('resume unavailable');
    this._loseSession();
    const turn = this._turn;
    this._fetchCredential().then(
      () => turn === this._turn && this._connect(),
      (error) => turn === this._turn && (this._wire.close(0, ''), this._failed(error)),
    );
  }

  private _loseSession(): void {
    if (!this.session) return;
    this.session = undefined;
    this._lost = true;
    this._host._sessionLost();
  }

  private _schedule(delay: number): void {
    this._timers.set('beat', delay, () => this._heartbeat());
  }

  /** Says that we are here, and watches for the answer. */
  private _heartbeat(): void {
    if (this.state !== 'online') return;
    this._beatAt = Date.now();
    this._schedule(this._interval);
    this._ask({ type: 'ws:heartbeat', data: { heartbeat_token: this.session!.token } }, this._settings.timeouts.ack);
  }

  /** Sends a frame that any living link answers within `delay` ms. */
  private _ask(frame: Frame, delay: number): void {
    const heard = this._heard;
    this._timers.once(frame.type, delay, () => heard === this._heard && this._wire.drop('no answer'));
    this.send(frame);
  }

  /** Asks for a sign of life when an answer is awaited and nothing at all arrives. */
  private _watchFor(): void {
    const heard = this._heard;
    this._timers.once('watch', this._settings.timeouts.ack / 2, () => {
      if (!this._host._awaits()) return;
      if (heard === this._heard) this._heartbeat();
      else this._watchFor();
    });
  }

  private _moveAfter(delay: number): void {
    this._comeBack = Date.now() + delay;
    this._farewell = { code: 1012, reason: 'drain' };
    this._timers.set('move', delay, () => this._wire.drop('drain'));
  }

  /** The socket is gone: stop, or come back. */
  private _down(code: number, reason: string): void {
    const { _farewell: farewell, _refused: refused } = this;
    const wasOnline = this.state === 'online';
    const steady = wasOnline && Date.now() - this._onlineAt > STEADY_MS;
    this._settle();
    this._wire.close(0, '');
    this._farewell = this._refused = undefined;
    this.lastClose = farewell ?? { code, reason };
    this._place++;
    if (this._resuming) this._strayUntil = Date.now() + STRAY_RESUME_MS;
    this._resuming = false;
    if (wasOnline) this._host._offline();
    let next = nextAfter(this.lastClose.code);
    if (this.lastClose.code === 4200) this._loseSession();
    // Our own earlier attempt may have arrived late and taken the session over.
    if (this.lastClose.code === 4009 && Date.now() < this._strayUntil) next = 'backoff';
    if (next === 'stop' && this._mayRenew(refused)) next = 'backoff';
    this.attempt = steady ? 1 : wasOnline ? Math.min(this.attempt + 1, 3) : this.attempt + 1;
    const { attempts = Infinity } = this._settings.reconnect;
    if (next === 'stop') return this._stop(refused ?? stopError(this.lastClose));
    if (this.attempt > attempts) return this._stop(new SparkwayError('gave_up', 'no connection', true));
    const quick = steady || (next === 'resume' && this.attempt < 3);
    const delay = quick ? Math.random() * SOON_MS : delayOf(this.attempt, this._settings.reconnect);
    this._later(delay + Math.max(refused?.retryAfter ?? 0, this._comeBack - Date.now(), 0));
  }

  /** Whether a refused or expired credential is worth one fresh token. */
  private _mayRenew(refused?: SparkwayError): boolean {
    const expired = this.lastClose!.code === 4010 || refused?.code === 'token_expired';
    if (!expired && refused?.code !== 'unauthorized') return false;
    if (typeof this._settings.token !== 'function' || this._reason !== 'initial') return false;
    this._reason = expired ? 'expired' : 'rejected';
    return true;
  }

  private _later(delay: number): void {
    this._comeBack = 0;
    this._retryAt = Date.now() + delay;
    this._timers.set('retry', delay, () => void this._dial());
    this._enter('reconnecting');
  }

  private _stop(error: SparkwayError): void {
    this._settle();
    this._wire.close(0, '');
    this._reason = 'initial';
    this.state = 'closed';
    this._host._stopped(error);
    if (error.code !== 'gave_up') this._loseSession();
  }
}

/** What a callback threw. It is worth another try unless it is a SparkwayError that says otherwise. */
function thrown(cause: unknown): SparkwayError {
  return cause instanceof SparkwayError ? cause : new SparkwayError('callback_failed', String(cause), true, undefined, cause);
}

function stopError({ code, reason }: Close): SparkwayError {
  return new SparkwayError(/^[a-z_]+$/.test(reason) ? reason : 'closed', `closed by the server: ${code} ${reason}`);
}
