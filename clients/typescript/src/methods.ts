/** The methods and messages that every server has, with their types: see `docs/protocol.md`. */

import type { Fields, Message } from "./message.js";

/** What every reply has beside its own fields. */
export type Reply = Message;

/** How far a change has come when its reply is sent. */
export type Acknowledgement = "applied" | "durable" | "replicated";

type Page = { count?: number; after?: string };
type ObjectState = Reply & { kind: string; version: number; owner: string; room?: string };

/** Fields and reply of each method that is built in. */
export interface Methods {
  ping: { fields: {}; reply: Reply & { time_ms: number } };
  time: { fields: {}; reply: Reply & { time_ms: number } };
  create: {
    fields: Fields & { kind: string; room?: string; partition?: number; ack?: Acknowledgement };
    reply: Reply & { object: string; version: number };
  };
  get: { fields: { object: string }; reply: ObjectState };
  set: {
    fields: Fields & { object: string; version?: number; ack?: Acknowledgement };
    reply: Reply & { version: number };
  };
  delete: { fields: { object: string; ack?: Acknowledgement }; reply: Reply };
  find: {
    fields: Fields & Page & { kind: string; partition?: number };
    reply: Reply & { objects: readonly string[]; after?: string };
  };
  watch: { fields: { object: string }; reply: ObjectState };
  unwatch: { fields: { object: string }; reply: Reply };
  join: {
    fields: { room: string; x?: number; y?: number; z?: number };
    /** What is behind `members`: of a world. See `Client.joinWorld`. */
    reply: Reply & {
      room: string;
      members: number;
      world?: string;
      entity?: number;
      cell?: number;
      dims?: number;
      tick_hz?: number;
      x?: number;
      y?: number;
      z?: number;
    };
  };
  leave: { fields: { room: string }; reply: Reply };
  who: {
    /** `entity`: the user of that one, in a world. */
    fields: Page & { room: string; entity?: number };
    /** `entities`: of a world, in the order of the users, as text. */
    reply: Reply & { users: readonly string[]; entities?: readonly string[]; after?: string };
  };
  rooms: { fields: Page; reply: Reply & { rooms: readonly string[]; after?: string } };
  chat: { fields: { to: string; text: string }; reply: Reply & { seq?: number } };
  emit: {
    fields: Fields & { to: string; event: string };
    reply: Reply & { seq?: number };
  };
}

/** What others say and do. */
export interface Messages {
  /** Said in a `room`, with its number there; or `to` this user alone. */
  chat: Message & { from: string; text: string; room?: string; to?: string; seq?: number };
  /** As `chat`, with an event's own fields. */
  emit: Message & { from: string; event: string; room?: string; to?: string; seq?: number };
  joined: Message & { room: string; user: string; seq: number };
  left: Message & { room: string; user: string; seq: number };
  /** How many are in a room that is too large to tell of each. */
  members: Message & { room: string; count: number; seq: number };
  /** An object that is watched, or in a room of this user's, has changed. */
  changed: Message & { object: string; version: number; room?: string; seq?: number };
  deleted: Message & { object: string; room?: string; seq?: number };
}
