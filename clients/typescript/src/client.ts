/** A session with a server, which outlives its connections. */

import { type Backoff, backoffMs } from "./backoff.js";
import { Calls } from "./calls.js";
import { Connection, connectFailed } from "./connection.js";
import { WarrenError } from "./error.js";
import { Listeners } from "./listeners.js";
import { encode, type Fields, type Message } from "./message.js";
import type { Messages, Methods, Reply } from "./methods.js";
import { Session } from "./session.js";
import { openTransport, type TlsOptions, type WebSocketConstructor } from "./transport.js";
import { type Position, World } from "./world.js";

/** How to connect. */
export interface Options {
  /** Who logs in. May be missing where a ticket says it. */
  readonly user?: string;
  /** A ticket, or what fetches one: it is asked again at each login, since tickets expire. */
  readonly ticket?: string | (() => string | Promise<string>);
  /** The class for `ws:` URLs, where there is no global one (Node before 22). */
  readonly WebSocket?: WebSocketConstructor;
  /** For `tls:` URLs. */
  readonly tls?: TlsOptions;
  /** The longest time for a reply, lost connections included. Default: 30,000. */
  readonly callTimeoutMs?: number;
  /** The longest time to connect and log in or resume. Default: 10,000. */
  readonly connectTimeoutMs?: number;
  /** Calls that wait for their replies; one more fails with `queue-full`. Default: 1,000. */
  readonly callsMax?: number;
  /** Time between attempts to connect again. Default: up to 250, doubled up to 10,000. */
  readonly backoff?: Backoff;
}

/** What a client is doing. */
export type State =
  | { readonly state: "connecting" }
  /** `replayed`: so many missed messages follow. */
  | { readonly state: "connected"; readonly resumed: boolean; readonly replayed: number }
  | { readonly state: "reconnecting"; readonly error: WarrenError; readonly delayMs: number }
  /** The client is at its end. */
  | { readonly state: "closed"; readonly error: WarrenError };

/** What a client tells of itself. */
export interface Notices {
  state: State;
  /**
   * The session was gone, and there is a new one: no longer in any room, watching nothing, and what
   * was said meanwhile is lost. Join again.
   */
  lost: WarrenError;
}

type Events = Messages & Notices;

const CALL_TIMEOUT_MS = 30_000;
const CONNECT_TIMEOUT_MS = 10_000;
const CALLS_MAX = 1_000;
const BACKOFF: Backoff = { baseMs: 250, capMs: 10_000 };
/** How long `close` waits for the server's answer. */
const CLOSE_TIMEOUT_MS = 2_000;
const PROTOCOL_VERSION = 1;
const CLIENT_NAME = "warren-client-typescript/0.1.0";
const HEARTBEAT_MS = 10_000;

/** Methods whose messages no server counts: they belong to a connection. */
const UNCOUNTED: ReadonlySet<string> = new Set(
  ["hello", "login", "resume", "ping", "pong", "error", "closed", "frame"],
);
/** A connection that is closed for one of these is not opened again. */
const FINAL: ReadonlySet<string> = new Set(["displaced", "taken-over", "kicked", "banned", "quit"]);
/** A session of which a server says this is gone. */
const SESSION_GONE: ReadonlySet<string> = new Set(["session-unknown", "resume-too-old"]);

/**
 * Connects and logs in. From then on the client resumes its session whenever its connection breaks.
 *
 * @throws WarrenError when the server is not reached, or refuses.
 * @throws TypeError when there is no way to such a URL here.
 */
export async function connect(url: string | URL, options: Options): Promise<Client> {
  const client = new Client(new URL(url), options);
  await client.opened;
  return client;
}

/** See `connect`. */
export class Client {
  /** @internal */
  readonly opened: Promise<void>;
  readonly #url: URL;
  readonly #options: Options;
  readonly #listeners = new Listeners();
  readonly #calls = new Calls();
  #state: State = { state: "connecting" };
  #connection: Connection | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  /** Attempts to connect since a session was last served. */
  #attempts = 0;
  #session: Session | undefined;
  /** Counted messages of the session, over all its connections. */
  #received = 0;
  /** Missed messages that are still to come; what has no reply is sent again behind them. */
  #replaying = 0;
  #heartbeatMs = HEARTBEAT_MS;
  #frameBytesMax = Infinity;
  #ownObject = "";
  /** Why the last session is gone, until there is a new one. */
  #lost: WarrenError | undefined;
  #isClosing = false;
  #opening: { resolve(): void; reject(error: WarrenError): void } | undefined;

  /** @internal Use `connect`. */
  constructor(url: URL, options: Options) {
    this.#url = url;
    this.#options = options;
    this.opened = new Promise((resolve, reject) => (this.#opening = { resolve, reject }));
    this.#attempt();
  }

  /** What the client is doing; the event `state` tells of each change. */
  get state(): State {
    return this.#state;
  }

  /** The id of the user's own object. */
  get ownObject(): string {
    return this.#ownObject;
  }

  /**
   * Calls a method and resolves with its reply. While the connection is lost the call waits; one
   * that had no reply when it was lost is sent again, and not done twice.
   *
   * @throws WarrenError with the server's reason, or one of the client's.
   */
  call<Method extends keyof Methods>(
    method: Method,
    fields: Methods[Method]["fields"],
    options?: { readonly timeoutMs?: number },
  ): Promise<Methods[Method]["reply"]>;
  call<Method extends string>(
    method: Method extends keyof Methods ? never : Method,
    fields?: Fields,
    options?: { readonly timeoutMs?: number },
  ): Promise<Reply>;
  async call(
    method: string,
    fields: Fields = {},
    options: { readonly timeoutMs?: number } = {},
  ): Promise<Reply> {
    if (this.#state.state === "closed") throw this.#state.error;
    if (this.#calls.count >= (this.#options.callsMax ?? CALLS_MAX)) {
      throw new WarrenError("queue-full");
    }
    if ("id" in fields) throw new WarrenError("reserved-field");
    const frame = encode(method, { ...fields, id: this.#calls.idNext });
    if (exceeds(frame, this.#frameBytesMax)) throw new WarrenError("frame-too-large");
    const timeoutMs = options.timeoutMs ?? this.#options.callTimeoutMs ?? CALL_TIMEOUT_MS;
    const reply = await this.#calls.add(frame, timeoutMs, () => this.#flush());
    if (reply.status !== 0) throw WarrenError.of(reply);
    return reply;
  }

  /**
   * Sends what has no reply, such as a `move`, on the connection of now. False when there is none:
   * then it is not sent.
   *
   * @throws WarrenError with the server's reason, when it would refuse the message.
   */
  send(method: string, fields: Fields = {}): boolean {
    const frame = encode(method, fields);
    if (exceeds(frame, this.#frameBytesMax)) throw new WarrenError("frame-too-large");
    if (this.#state.state !== "connected") return false;
    this.#connection?.send(frame);
    return true;
  }

  /**
   * Joins a world: a room with positions. Made by `create` with `kind: "world"`.
   *
   * @throws WarrenError with the server's reason, or one of the client's.
   */
  joinWorld(room: string, at: Position = {}): Promise<World> {
    return World.join(this, room, at);
  }

  /**
   * Hears messages of a method, or the client's own `state` and `lost`. Returns what ends it.
   * Listeners are called in the order of the messages, before the calls that wait for a reply go on.
   */
  on<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => void): () => void;
  on<Name extends string>(
    name: Name extends keyof Events ? never : Name,
    listener: (message: Message) => void,
  ): () => void;
  on(name: string, listener: (event: never) => void): () => void {
    return this.#listeners.add(name, listener);
  }

  /** Drops the connection and resumes at once: for when the network is known to be another. */
  reconnect(): void {
    if (this.#isClosing || this.#opening !== undefined || this.#state.state === "closed") return;
    if (this.#retry === undefined) this.#connection?.drop(connectFailed("reconnect"));
    // It waits to try again now, unless who heard of it has closed the client, or reconnected it.
    if (this.#retry === undefined) return;
    clearTimeout(this.#retry);
    this.#attempts = 0;
    this.#attempt();
  }

  /** Ends the session and the client. Resolves when both are at their end. */
  async close(): Promise<void> {
    if (this.#state.state === "closed") return;
    const end = new WarrenError("client-closed");
    if (this.#state.state !== "connected") {
      this.#end(end);
      return;
    }
    this.#isClosing = true;
    const ended = new Promise<void>((resolve) => {
      const off = this.on("state", () => (off(), resolve()));
    });
    const timer = setTimeout(() => this.#end(end), CLOSE_TIMEOUT_MS);
    this.#connection?.send(encode("quit", {}));
    await ended;
    clearTimeout(timer);
  }

  #attempt(): void {
    this.#retry = undefined;
    this.#attempts += 1;
    const { connectTimeoutMs = CONNECT_TIMEOUT_MS, WebSocket, tls = {} } = this.#options;
    const connection: Connection = new Connection(
      (receiver) => openTransport(this.#url, WebSocket, tls, receiver),
      connectTimeoutMs,
      {
        opened: () => this.#greet(connection),
        message: (message) => this.#message(message, connection),
        lost: (error) => this.#disconnected(error),
      },
    );
    this.#connection = connection;
  }

  #greet(connection: Connection): void {
    connection.send(encode("hello", { protocol: PROTOCOL_VERSION, client: CLIENT_NAME }));
    if (this.#session === undefined) {
      void this.#login(connection);
      return;
    }
    this.#resume(connection, this.#session, this.#session.show());
  }

  #resume(connection: Connection, { id }: Session, token: Message[string]): void {
    connection.send(encode("resume", { session: id, token, received: this.#received }));
  }

  async #login(connection: Connection): Promise<void> {
    const { user, ticket } = this.#options;
    let issued: string | undefined;
    try {
      issued = typeof ticket === "function" ? await ticket() : ticket;
    } catch (cause) {
      // Whatever it is: the next attempt asks again.
      connection.drop(connectFailed(cause));
      return;
    }
    try {
      connection.send(encode("login", { user, ticket: issued }));
    } catch (error) {
      this.#end(error as WarrenError);
    }
  }

  #message(message: Message, connection: Connection): void {
    const { msg, status } = message;
    if (msg === "closed") {
      connection.drop(WarrenError.of(message));
      return;
    }
    if (!UNCOUNTED.has(msg)) this.#count();
    // Its replies are told on the connection that asked, and on no other.
    if (msg === "ping" && status === 0) this.#session?.settle();
    if (status === undefined) this.#listeners.emit(msg, message);
    else if (this.#calls.answer(message)) this.#flush();
    else if (msg === "hello") this.#greeted(message);
    else if (msg === "login") this.#loggedIn(message, connection);
    else if (msg === "resume") this.#resumed(message, connection);
    // It is answered only when it is refused, and no call waits for that.
    else if (msg === "move") this.#listeners.emit(msg, message);
  }

  #count(): void {
    this.#received += 1;
    if (this.#replaying === 0) return;
    this.#replaying -= 1;
    // What was sent before and has no reply now has none among what was missed.
    if (this.#replaying === 0) queueMicrotask(() => this.#flush());
  }

  #greeted(reply: Message): void {
    if (reply.status !== 0) {
      this.#end(WarrenError.of(reply));
      return;
    }
    if (typeof reply.heartbeat_ms === "number") this.#heartbeatMs = reply.heartbeat_ms;
    if (typeof reply.frame_bytes_max === "number") this.#frameBytesMax = reply.frame_bytes_max;
  }

  #loggedIn(reply: Message, connection: Connection): void {
    if (reply.status !== 0) {
      this.#refused(WarrenError.of(reply), connection);
      return;
    }
    const { session = null, token = null, object } = reply;
    this.#session = new Session(session, token);
    this.#ownObject = String(object);
    this.#received = 0;
    this.#serve(connection, { state: "connected", resumed: false, replayed: 0 });
    const lost = this.#lost;
    this.#lost = undefined;
    if (lost !== undefined) this.#listeners.emit("lost", lost);
    this.#opening?.resolve();
    this.#opening = undefined;
  }

  #resumed(reply: Message, connection: Connection): void {
    if (reply.status !== 0) {
      this.#resumeRefused(WarrenError.of(reply), connection);
      return;
    }
    const { token = null, replayed: missed } = reply;
    this.#session?.resumed(token);
    const replayed = Number(missed ?? 0);
    this.#replaying = replayed;
    this.#serve(connection, { state: "connected", resumed: true, replayed });
  }

  #resumeRefused(error: WarrenError, connection: Connection): void {
    if (!SESSION_GONE.has(error.reason)) {
      this.#refused(error, connection);
      return;
    }
    const session = this.#session;
    const other = error.reason === "session-unknown" ? session?.showOther() : undefined;
    if (session !== undefined && other !== undefined) {
      this.#resume(connection, session, other);
      return;
    }
    this.#session = undefined;
    this.#lost = error;
    this.#calls.fail(new WarrenError("session-lost", 0, undefined, { cause: error }));
    void this.#login(connection);
  }

  /** A login or resume was refused: later it may not be, or it always will. */
  #refused(error: WarrenError, connection: Connection): void {
    const mayChange = error.status === 408 || error.status === 429 || error.status >= 500;
    if (mayChange) connection.drop(error);
    else this.#end(error);
  }

  #serve(connection: Connection, state: State): void {
    this.#attempts = 0;
    connection.watch(this.#heartbeatMs, () => this.#received);
    this.#setState(state);
    this.#flush();
  }

  #disconnected(error: WarrenError): void {
    if (this.#state.state === "closed") return;
    this.#calls.reconnected();
    this.#replaying = 0;
    // A resume of its own that it had given up may have taken the session over.
    const isOwn = error.reason === "taken-over" && this.#session?.isSettled === false;
    const isFinal = (FINAL.has(error.reason) && !isOwn) || this.#opening !== undefined;
    if (this.#isClosing) this.#end(new WarrenError("client-closed"));
    else if (isFinal) this.#end(error);
    else {
      const { backoff = BACKOFF } = this.#options;
      const delayMs = backoffMs(this.#attempts, backoff, Math.random());
      this.#retry = setTimeout(() => this.#attempt(), delayMs);
      this.#setState({ state: "reconnecting", error, delayMs });
    }
  }

  #end(error: WarrenError): void {
    if (this.#state.state === "closed") return;
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#setState({ state: "closed", error });
    this.#connection?.drop(error);
    this.#calls.fail(error);
    this.#opening?.reject(error);
    this.#opening = undefined;
  }

  #flush(): void {
    const connection = this.#connection;
    if (this.#state.state !== "connected" || this.#replaying > 0 || !connection) return;
    this.#calls.flush((frame) => connection.send(frame));
  }

  #setState(state: State): void {
    this.#state = state;
    this.#listeners.emit("state", state);
  }
}

/** Whether a text has more bytes in UTF-8, with its end, than `bytesMax`. */
function exceeds(text: string, bytesMax: number): boolean {
  // No character of UTF-16 takes more than three.
  if (text.length * 3 < bytesMax) return false;
  return new TextEncoder().encode(text).length >= bytesMax;
}
