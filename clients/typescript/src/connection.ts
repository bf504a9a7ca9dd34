/** One connection to a server, from its opening to its end. */

import { WarrenError } from "./error.js";
import { decode, encode, type Message } from "./message.js";
import type { Receiver, Transport } from "./transport.js";

/** Who hears of a connection. */
export interface ConnectionOwner {
  /** It is open: say hello. */
  opened(): void;
  /** A message came. */
  message(message: Message): void;
  /** It is gone, once. Nothing else is heard of it from then on. */
  lost(error: WarrenError): void;
}

/** Why a connection could not be used, or not any longer. */
export function connectFailed(cause: unknown): WarrenError {
  return new WarrenError("connect-failed", 0, undefined, { cause });
}

/** A connection that is being opened, is open, or is gone. */
export class Connection {
  readonly #owner: ConnectionOwner;
  readonly #transport: Transport;
  /** Until it serves, the time by which it has to; from then on the heartbeat. */
  #timer: ReturnType<typeof setTimeout>;
  #heard = false;
  #isGone = false;

  constructor(
    open: (receiver: Receiver) => Transport,
    connectTimeoutMs: number,
    owner: ConnectionOwner,
  ) {
    this.#owner = owner;
    this.#transport = open({
      opened: () => this.#isGone || owner.opened(),
      frame: (frame) => this.#frame(frame),
      closed: (cause) => this.drop(connectFailed(cause)),
    });
    this.#timer = setTimeout(() => this.drop(connectFailed("timeout")), connectTimeoutMs);
  }

  send(frame: string): void {
    if (!this.#isGone) this.#transport.send(frame);
  }

  /**
   * The connection serves a session: from now on the server is asked in every interval whether it
   * is there, and is gone when nothing at all came in one. `count` is how many messages the session
   * has had: so the server learns what it need not keep any longer.
   */
  watch(intervalMs: number, count: () => number): void {
    clearTimeout(this.#timer);
    this.#timer = setInterval(() => {
      if (!this.#heard) {
        this.drop(connectFailed("silence"));
        return;
      }
      this.#heard = false;
      this.send(encode("ping", { received: count() }));
    }, intervalMs);
  }

  /** Closes the connection, unless it is gone already. */
  drop(error: WarrenError): void {
    if (this.#isGone) return;
    this.#isGone = true;
    clearInterval(this.#timer);
    this.#transport.close();
    this.#owner.lost(error);
  }

  #frame(frame: string): void {
    if (this.#isGone) return;
    this.#heard = true;
    let message: Message;
    try {
      message = decode(frame);
    } catch (cause) {
      this.drop(connectFailed(cause));
      return;
    }
    this.#owner.message(message);
  }
}
