/** Requests that wait for their replies. */
import { WarrenError } from "./error.js";
import type { Message } from "./message.js";
/** The calls of one client, in their order. */
export declare class Calls {
    #private;
    /** The id of the next call. */
    get idNext(): number;
    /** How many wait for their replies. */
    get count(): number;
    /**
     * Adds a call, whose frame has the id `idNext`, and settles with the reply, whatever its status.
     * `flush` is called when others may leave.
     */
    add(frame: string, timeoutMs: number, flush: () => void): Promise<Message>;
    /** Sends what may leave now. */
    flush(send: (frame: string) => void): void;
    /** The connection is another: what had no reply is sent again. */
    reconnected(): void;
    /** Settles the call that a reply belongs to. False when it belongs to none. */
    answer(reply: Message): boolean;
    /** Fails every call. */
    fail(error: WarrenError): void;
}
