/** How frames reach a server and come from it. */
/** An open way to a server. */
export interface Transport {
    /** Sends a frame. Does nothing once the way is closed. */
    send(frame: string): void;
    /** Closes the way. `Receiver.closed` may still be called. */
    close(): void;
}
/** Who hears what comes. */
export interface Receiver {
    /** The way is open. */
    opened(): void;
    /** A frame came. */
    frame(frame: string): void;
    /** The way is closed, or could not be opened. The last call. */
    closed(fault?: unknown): void;
}
/** The part of the standard `WebSocket` class that is used here. */
export type WebSocketConstructor = new (url: string, protocols: string) => {
    send(data: string): void;
    close(): void;
    onopen: ((event: never) => void) | null;
    onmessage: ((event: never) => void) | null;
    onclose: ((event: never) => void) | null;
    onerror: ((event: never) => void) | null;
    readonly readyState: number;
};
/** What `tls:` URLs need beside Node's own settings. */
export interface TlsOptions {
    /** Certificates to trust in place of those that Node trusts, in PEM. */
    readonly ca?: string | readonly string[];
}
/**
 * Opens a way to `url`: `ws:` and `wss:` by WebSocket, `tcp:` and `tls:` by a socket of Node.
 *
 * @throws TypeError when there is no such way here.
 */
export declare function openTransport(url: URL, webSocket: WebSocketConstructor | undefined, tls: TlsOptions, receiver: Receiver): Transport;
