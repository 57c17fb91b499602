export { FakeServer, type FakeOptions, type Session, type Subscription } from './server.js';
export { Logs, type Entry, type Gap } from './log.js';
export { Seat, type Transport } from './seat.js';
