/** How frames reach a server and come from it. */
const SUBPROTOCOL = "warren.json";
const WEBSOCKET_OPEN = 1;
/**
 * Opens a way to `url`: `ws:` and `wss:` by WebSocket, `tcp:` and `tls:` by a socket of Node.
 *
 * @throws TypeError when there is no such way here.
 */
export function openTransport(url, webSocket, tls, receiver) {
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
function openWebSocket(url, webSocket, receiver) {
    const socket = new webSocket(url.href, SUBPROTOCOL);
    socket.onopen = () => receiver.opened();
    socket.onmessage = (event) => receiver.frame(String(event.data));
    socket.onclose = () => receiver.closed();
    // It says nothing of what happened, and `onclose` follows.
    socket.onerror = () => { };
    return {
        send(frame) {
            if (socket.readyState === WEBSOCKET_OPEN)
                socket.send(frame);
        },
        close: () => socket.close(),
    };
}
/** The module that needs Node is loaded when it is needed, so that browsers never ask for it. */
function openSocket(url, tls, receiver) {
    let transport;
    let closed = false;
    import("./socket.js").then((module) => {
        if (closed)
            receiver.closed();
        else
            transport = module.openSocket(url, tls, receiver);
    }, (fault) => receiver.closed(fault));
    return {
        send: (frame) => transport?.send(frame),
        close() {
            closed = true;
            transport?.close();
        },
    };
}
