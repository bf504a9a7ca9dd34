/** A session with a server, which outlives its connections. */
import { type Backoff } from "./backoff.js";
import { WarrenError } from "./error.js";
import { type Fields, type Message } from "./message.js";
import type { Messages, Methods, Reply } from "./methods.js";
import { type TlsOptions, type WebSocketConstructor } from "./transport.js";
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
export type State = {
    readonly state: "connecting";
}
/** `replayed`: so many missed messages follow. */
 | {
    readonly state: "connected";
    readonly resumed: boolean;
    readonly replayed: number;
} | {
    readonly state: "reconnecting";
    readonly error: WarrenError;
    readonly delayMs: number;
}
/** The client is at its end. */
 | {
    readonly state: "closed";
    readonly error: WarrenError;
};
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
/**
 * Connects and logs in. From then on the client resumes its session whenever its connection breaks.
 *
 * @throws WarrenError when the server is not reached, or refuses.
 * @throws TypeError when there is no way to such a URL here.
 */
export declare function connect(url: string | URL, options: Options): Promise<Client>;
/** See `connect`. */
export declare class Client {
    #private;
    /** @internal */
    readonly opened: Promise<void>;
    /** @internal Use `connect`. */
    constructor(url: URL, options: Options);
    /** What the client is doing; the event `state` tells of each change. */
    get state(): State;
    /** The id of the user's own object. */
    get ownObject(): string;
    /**
     * Calls a method and resolves with its reply. While the connection is lost the call waits; one
     * that had no reply when it was lost is sent again, and not done twice.
     *
     * @throws WarrenError with the server's reason, or one of the client's.
     */
    call<Method extends keyof Methods>(method: Method, fields: Methods[Method]["fields"], options?: {
        readonly timeoutMs?: number;
    }): Promise<Methods[Method]["reply"]>;
    call<Method extends string>(method: Method extends keyof Methods ? never : Method, fields?: Fields, options?: {
        readonly timeoutMs?: number;
    }): Promise<Reply>;
    /**
     * Sends what has no reply, such as a `move`, on the connection of now. False when there is none:
     * then it is not sent.
     *
     * @throws WarrenError with the server's reason, when it would refuse the message.
     */
    send(method: string, fields?: Fields): boolean;
    /**
     * Joins a world: a room with positions. Made by `create` with `kind: "world"`.
     *
     * @throws WarrenError with the server's reason, or one of the client's.
     */
    joinWorld(room: string, at?: Position): Promise<World>;
    /**
     * Hears messages of a method, or the client's own `state` and `lost`. Returns what ends it.
     * Listeners are called in the order of the messages, before the calls that wait for a reply go on.
     */
    on<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => void): () => void;
    on<Name extends string>(name: Name extends keyof Events ? never : Name, listener: (message: Message) => void): () => void;
    /** Drops the connection and resumes at once: for when the network is known to be another. */
    reconnect(): void;
    /** Ends the session and the client. Resolves when both are at their end. */
    close(): Promise<void>;
}
export {};
