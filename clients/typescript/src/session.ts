/** What a session is resumed by. */

import type { Message } from "./message.js";

type Value = Message[string];

/**
 * A session, and the tokens of which one is valid. Each resume gives the next token, and the one that
 * was shown stays valid until the server has heard from the new connection: a resume that was given
 * up may come after the one that took its place, and nobody hears of the token that it gives.
 */
export class Session {
  readonly id: Value;
  #latest: Value;
  /** The one that the latest was given for, until that is settled. */
  #before: Value | undefined;
  /** The one that was shown last. */
  #shown: Value;

  constructor(id: Value, token: Value) {
    this.id = id;
    this.#latest = token;
    this.#shown = token;
  }

  /** The token to show first on a connection. */
  show(): Value {
    return (this.#shown = this.#latest);
  }

  /** The one to show when that was refused, if there is another. */
  showOther(): Value | undefined {
    if (this.#before === undefined || this.#shown === this.#before) return undefined;
    return (this.#shown = this.#before);
  }

  /** The token that was shown is accepted, and gives the next. */
  resumed(token: Value): void {
    this.#before = this.#shown;
    this.#latest = token;
  }

  /** The server has heard from the connection that the latest token came on: no other is valid. */
  settle(): void {
    this.#before = undefined;
  }

  /** Whether no resume that was given up can take the session any longer. */
  get isSettled(): boolean {
    return this.#before === undefined;
  }
}
