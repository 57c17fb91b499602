export { Sparkway } from './client.js';
export type { Backoff } from './backoff.js';
export { json, type Codec, type Frame } from './codec.js';
export type { Close, State } from './contract.js';
export type { Logger, Off } from './emitter.js';
export { SparkwayError } from './errors.js';
export type { Resumed, SparkwayEvents, SparkwayOptions, Status } from './options.js';
export type { Published, QueueSettings } from './outbox.js';
export type { Store } from './saved.js';
export type { TokenReason, TokenSource } from './token.js';
export type {
  HistoryOptions,
  HistoryPage,
  Loss,
  Member,
  Message,
  Presence,
  PublishOptions,
  Since,
  Topic,
  TopicEvents,
  TopicOptions,
  TopicState,
} from './topic.js';
export type { SocketConstructor, SocketLike } from './wire.js';
