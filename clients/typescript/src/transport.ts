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
export type WebSocketConstructor = new (
  url: string,
  protocols: string,
) => {
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

const SUBPROTOCOL = "warren.json";
const WEBSOCKET_OPEN = 1;

/**
 * Opens a way to `url`: `ws:` and `wss:` by WebSocket, `tcp:` and `tls:` by a socket of Node.
 *
 * @throws TypeError when there is no such way here.
 */
export function openTransport(
  url: URL,
  webSocket: WebSocketConstructor | undefined,
  tls: TlsOptions,
  receiver: Receiver,
): Transport {
  switch (url.protocol) {
    case "ws:":
    case "wss:": {
      const constructor = webSocket ?? globalThis.WebSocket;
      if (constructor === undefined) {
        throw new TypeError("there is no WebSocket here: use a `tcp:` URL, or pass `WebSocket`");
      }
      return openWebSocket(url, constructor, receiver);
    }
    case "tcp:":
    case "tls:":
      return openSocket(url, tls, receiver);
    default:
      throw new TypeError(`a server's URL begins with ws, wss, tcp or tls, not ${url.protocol}`);
  }
}

function openWebSocket(url: URL, webSocket: WebSocketConstructor, receiver: Receiver): Transport {
  const socket = new webSocket(url.href, SUBPROTOCOL);
  socket.onopen = () => receiver.opened();
  socket.onmessage = (event: MessageEvent) => receiver.frame(String(event.data));
  socket.onclose = () => receiver.closed();
  // It says nothing of what happened, and `onclose` follows.
  socket.onerror = () => {};
  return {
    send(frame) {
      if (socket.readyState === WEBSOCKET_OPEN) socket.send(frame);
    },
    close: () => socket.close(),
  };
}

/** The module that needs Node is loaded when it is needed, so that browsers never ask for it. */
function openSocket(url: URL, tls: TlsOptions, receiver: Receiver): Transport {
  let transport: Transport | undefined;
  let closed = false;
  import("./socket.js").then(
    (module) => {
      if (closed) receiver.closed();
      else transport = module.openSocket(url, tls, receiver);
    },
    (fault: unknown) => receiver.closed(fault),
  );
  return {
    send: (frame) => transport?.send(frame),
    close() {
      closed = true;
      transport?.close();
    },
  };
}
