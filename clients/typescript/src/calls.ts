/** Requests that wait for their replies. */

import { WarrenError } from "./error.js";
import type { Message } from "./message.js";

/**
 * A server remembers so many ids of a session's requests, and does not do one of them twice. So a
 * request leaves only when the oldest without a reply is nearer than that.
 */
const IDS_REMEMBERED = 64;

interface Call {
  readonly id: number;
  readonly frame: string;
  settle(reply: Message | WarrenError): void;
}

/** The calls of one client, in their order. */
export class Calls {
  /** On their way on the connection of now, by id; ids only rise. */
  readonly #sent = new Map<number, Call>();
  /** Not sent on the connection of now. */
  #waiting: Call[] = [];
  #idNext = 1;

  /** The id of the next call. */
  get idNext(): number {
    return this.#idNext;
  }

  /** How many wait for their replies. */
  get count(): number {
    return this.#sent.size + this.#waiting.length;
  }

  /**
   * Adds a call, whose frame has the id `idNext`, and settles with the reply, whatever its status.
   * `flush` is called when others may leave.
   */
  add(frame: string, timeoutMs: number, flush: () => void): Promise<Message> {
    const id = this.#idNext;
    this.#idNext += 1;
    return new Promise((resolve, reject) => {
      const call: Call = {
        id,
        frame,
        settle: (reply) => {
          clearTimeout(timer);
          if (reply instanceof WarrenError) reject(reply);
          else resolve(reply);
        },
      };
      const timer = setTimeout(() => {
        this.#take(id);
        call.settle(new WarrenError("call-timeout"));
        flush();
      }, timeoutMs);
      this.#waiting.push(call);
      flush();
    });
  }

  /** Sends what may leave now. */
  flush(send: (frame: string) => void): void {
    while (this.#waiting.length > 0) {
      const [next] = this.#waiting as [Call];
      const [oldest = next.id] = this.#sent.keys();
      if (next.id - oldest >= IDS_REMEMBERED) return;
      this.#waiting.shift();
      this.#sent.set(next.id, next);
      send(next.frame);
    }
  }

  /** The connection is another: what had no reply is sent again. */
  reconnected(): void {
    this.#waiting = [...this.#sent.values(), ...this.#waiting];
    this.#sent.clear();
  }

  /** Settles the call that a reply belongs to. False when it belongs to none. */
  answer(reply: Message): boolean {
    const call = typeof reply.id === "number" ? this.#take(reply.id) : undefined;
    call?.settle(reply);
    return call !== undefined;
  }

  #take(id: number): Call | undefined {
    const sent = this.#sent.get(id);
    if (sent !== undefined) {
      this.#sent.delete(id);
      return sent;
    }
    // Its reply may be among what was missed.
    const index = this.#waiting.findIndex((call) => call.id === id);
    return index < 0 ? undefined : this.#waiting.splice(index, 1)[0];
  }

  /** Fails every call. */
  fail(error: WarrenError): void {
    const calls = [...this.#sent.values(), ...this.#waiting];
    this.#sent.clear();
    this.#waiting = [];
    for (const call of calls) call.settle(error);
  }
}
