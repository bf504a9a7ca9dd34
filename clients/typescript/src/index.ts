export type { Backoff } from "./backoff.js";
export { Client, connect, type Notices, type Options, type State } from "./client.js";
export { WarrenError } from "./error.js";
export type { Fields, Message, Value } from "./message.js";
export type { Acknowledgement, Messages, Methods, Reply } from "./methods.js";
export type { TlsOptions, WebSocketConstructor } from "./transport.js";
export type { Entity, Frame } from "./view.js";
export type { Motion, Position, Refusal, World, WorldEvents } from "./world.js";
