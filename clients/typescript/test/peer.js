// A server that does what a test says, for what the real one does rarely or never.

import { once } from "node:events";
import net from "node:net";
import { createInterface } from "node:readline";

/** @param {import("node:test").TestContext} context */
export async function startPeer(context) {
  /** @type {net.Socket[]} */
  const sockets = [];
  /** @type {Connection[]} */
  const arrived = [];
  /** @type {((connection: Connection) => void)[]} */
  const awaited = [];
  const server = net.createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    const connection = new Connection(socket);
    const waiter = awaited.shift();
    if (waiter === undefined) arrived.push(connection);
    else waiter(connection);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  context.after(() => {
    sockets.forEach((socket) => socket.destroy());
    server.close();
  });
  const { port } = /** @type {net.AddressInfo} */ (server.address());
  return {
    url: `tcp://127.0.0.1:${port}`,
    /** The next connection. */
    accept() {
      const connection = arrived.shift();
      if (connection !== undefined) return Promise.resolve(connection);
      return new Promise((/** @type {(connection: Connection) => void} */ resolve) => {
        awaited.push(resolve);
      });
    },
    /** The next connection, whose hello is answered, and the request behind it. */
    async greet(hello = {}) {
      const connection = await this.accept();
      await connection.answer("hello", { protocol: 1, heartbeat_ms: 60_000, ...hello });
      return connection;
    },
    /** The next connection, on which a user has logged in, and at once hears these messages. */
    async serve(hello = {}, /** @type {object[]} */ ...messages) {
      const connection = await this.greet(hello);
      await connection.answer("login", { session: "7", token: "a", object: "1.1" }, ...messages);
      return connection;
    },
  };
}

class Connection {
  /** @param {net.Socket} socket */
  constructor(socket) {
    this.socket = socket;
    this.lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  }

  /** The next request; none when the client has closed. */
  async read() {
    const { value } = await this.lines.next();
    return value === undefined ? undefined : JSON.parse(value);
  }

  /** Sends messages in one piece. */
  write(/** @type {object[]} */ ...messages) {
    this.socket.write(messages.map((message) => `${JSON.stringify(message)}\n`).join(""));
  }

  /** Reads a request of that method, and replies to it; the messages go with the reply. */
  async answer(/** @type {string} */ method, fields = {}, /** @type {object[]} */ ...messages) {
    const request = await this.read();
    if (request?.msg !== method) throw new Error(`${request?.msg} came in place of ${method}`);
    this.write({ msg: method, id: request.id, status: 0, ...fields }, ...messages);
    return request;
  }

  cut() {
    this.socket.resetAndDestroy();
  }
}
