/** One connection to a server, from its opening to its end. */
import { WarrenError } from "./error.js";
import { decode, encode } from "./message.js";
/** Why a connection could not be used, or not any longer. */
export function connectFailed(cause) {
    return new WarrenError("connect-failed", 0, undefined, { cause });
}
/** A connection that is being opened, is open, or is gone. */
export class Connection {
    #owner;
    #transport;
    /** Until it serves, the time by which it has to; from then on the heartbeat. */
    #timer;
    #heard = false;
    #isGone = false;
    constructor(open, connectTimeoutMs, owner) {
        this.#owner = owner;
        this.#transport = open({
            opened: () => this.#isGone || owner.opened(),
            frame: (frame) => this.#frame(frame),
            closed: (cause) => this.drop(connectFailed(cause)),
        });
        this.#timer = setTimeout(() => this.drop(connectFailed("timeout")), connectTimeoutMs);
    }
    send(frame) {
        if (!this.#isGone)
            this.#transport.send(frame);
    }
    /**
     * The connection serves a session: from now on the server is asked in every interval whether it
     * is there, and is gone when nothing at all came in one. `count` is how many messages the session
     * has had: so the server learns what it need not keep any longer.
     */
    watch(intervalMs, count) {
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
    drop(error) {
        if (this.#isGone)
            return;
        this.#isGone = true;
        clearInterval(this.#timer);
        this.#transport.close();
        this.#owner.lost(error);
    }
    #frame(frame) {
        if (this.#isGone)
            return;
        this.#heard = true;
        let message;
        try {
            message = decode(frame);
        }
        catch (cause) {
            this.drop(connectFailed(cause));
            return;
        }
        this.#owner.message(message);
    }
}
