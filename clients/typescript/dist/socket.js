/** JSON over a plain or TLS socket: Node only. A frame ends with LF. */
import * as net from "node:net";
import * as tls from "node:tls";
const PORT_DEFAULT = 7171;
/** No server sends a longer frame, whatever its limits are: see `docs/protocol.md`. */
const FRAME_CHARACTERS_MAX = 16 * 1024 * 1024;
/** Opens a socket to a `tcp:` or `tls:` URL. */
export function openSocket(url, { ca }, receiver) {
    const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
    const port = url.port === "" ? PORT_DEFAULT : Number(url.port);
    const isTls = url.protocol === "tls:";
    // A name for the server to choose its certificate by; an address is none.
    const servername = net.isIP(host) === 0 ? host : "";
    const trust = ca === undefined ? {} : { ca: [ca].flat() };
    const socket = isTls
        ? tls.connect({ host, port, servername, ...trust })
        : net.connect({ host, port });
    let fault;
    // The end of a frame that has not come yet. Its pieces are joined once, when the end is there.
    let pieces = [];
    let length = 0;
    socket.setEncoding("utf8");
    socket.setNoDelay(true);
    socket.on(isTls ? "secureConnect" : "connect", () => receiver.opened());
    socket.on("data", (data) => {
        const lines = String(data).split("\n");
        for (const [index, line] of lines.entries()) {
            pieces.push(line);
            length += line.length;
            if (length > FRAME_CHARACTERS_MAX)
                socket.destroy(new RangeError("a frame does not end"));
            if (socket.destroyed || index === lines.length - 1)
                break;
            const frame = pieces.join("");
            pieces = [];
            length = 0;
            receiver.frame(frame);
        }
    });
    socket.on("error", (error) => (fault = error));
    socket.on("close", () => receiver.closed(fault));
    return {
        send(frame) {
            if (socket.writable)
                socket.write(`${frame}\n`);
        },
        close: () => socket.destroy(),
    };
}
