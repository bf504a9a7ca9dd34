/** One connection to a server, from its opening to its end. */
import { WarrenError } from "./error.js";
import { type Message } from "./message.js";
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
export declare function connectFailed(cause: unknown): WarrenError;
/** A connection that is being opened, is open, or is gone. */
export declare class Connection {
    #private;
    constructor(open: (receiver: Receiver) => Transport, connectTimeoutMs: number, owner: ConnectionOwner);
    send(frame: string): void;
    /**
     * The connection serves a session: from now on the server is asked in every interval whether it
     * is there, and is gone when nothing at all came in one. `count` is how many messages the session
     * has had: so the server learns what it need not keep any longer.
     */
    watch(intervalMs: number, count: () => number): void;
    /** Closes the connection, unless it is gone already. */
    drop(error: WarrenError): void;
}
