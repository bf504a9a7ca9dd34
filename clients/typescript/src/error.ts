import type { Message } from "./message.js";

/**
 * Why a call failed or the client ended. `reason` is one word: one of the server's, listed in
 * `docs/protocol.md`, or one of the client's own:
 *
 * - `call-timeout`: no reply came in time. The server may have done it, or may yet do it.
 * - `session-lost`: the session ended before the reply came. The server may have done it.
 * - `connect-failed`: the server was not reached, or did not answer in time.
 * - `queue-full`: too many calls wait for their replies.
 * - `client-closed`: the client was closed.
 * - `no-world`: the room that was to be joined as a world has no space.
 * - `frame-too-large`: a frame of the world was longer than any that a client keeps, so it has left.
 * - `left`: the client has left the world.
 */
export class WarrenError extends Error {
  override readonly name = "WarrenError";
  /** One word, for programs. */
  readonly reason: string;
  /** The server's status code, HTTP's where one fits. 0: the client itself tells of the fault. */
  readonly status: number;
  /** The configuration key of the limit that was hit. */
  readonly limit: string | undefined;

  constructor(reason: string, status = 0, limit?: string, options?: ErrorOptions) {
    super(limit === undefined ? reason : `${reason} (${limit})`, options);
    this.reason = reason;
    this.status = status;
    this.limit = limit;
  }

  /** @internal What a message of the server's says. */
  static of({ error, status, limit }: Message): WarrenError {
    return new WarrenError(
      typeof error === "string" ? error : "malformed",
      typeof status === "number" ? status : 0,
      typeof limit === "string" ? limit : undefined,
    );
  }
}
