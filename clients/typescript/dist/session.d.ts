/** What a session is resumed by. */
import type { Message } from "./message.js";
type Value = Message[string];
/**
 * A session, and the tokens of which one is valid. Each resume gives the next token, and the one that
 * was shown stays valid until the server has heard from the new connection: a resume that was given
 * up may come after the one that took its place, and nobody hears of the token that it gives.
 */
export declare class Session {
    #private;
    readonly id: Value;
    constructor(id: Value, token: Value);
    /** The token to show first on a connection. */
    show(): Value;
    /** The one to show when that was refused, if there is another. */
    showOther(): Value | undefined;
    /** The token that was shown is accepted, and gives the next. */
    resumed(token: Value): void;
    /** The server has heard from the connection that the latest token came on: no other is valid. */
    settle(): void;
    /** Whether no resume that was given up can take the session any longer. */
    get isSettled(): boolean;
}
export {};
