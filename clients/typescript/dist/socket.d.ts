/** JSON over a plain or TLS socket: Node only. A frame ends with LF. */
import type { Receiver, TlsOptions, Transport } from "./transport.js";
/** Opens a socket to a `tcp:` or `tls:` URL. */
export declare function openSocket(url: URL, { ca }: TlsOptions, receiver: Receiver): Transport;
