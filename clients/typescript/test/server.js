// A server of the test's own, and a proxy before it that cuts connections.

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const BINARIES = process.env.WARREN_BINARIES;
if (BINARIES === undefined) throw new Error("WARREN_BINARIES names no folder: run clients/test");
/** The path of a binary. */
export const binary = (/** @type {string} */ name) => join(BINARIES, name);

/**
 * Starts `warren serve`, or `demo`, with two shards, on ports that are free, until the test ends.
 *
 * @param {import("node:test").TestContext} context
 * @param {{config?: string, command?: "serve" | "demo"}} options
 */
export async function startServer(context, { config = "", command = "serve" } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "warren-client-"));
  const file = join(folder, "warren.toml");
  writeFileSync(file, `${config}[log]\nlevel = "warn"\n`);
  const listen = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--shards", "2"];
  const server = spawn(binary("warren"), [command, "--config", file, ...listen], {
    stdio: ["ignore", "pipe", "inherit"],
    // A demo stores what it makes in a folder of the user's.
    env: { ...process.env, XDG_DATA_HOME: folder },
  });
  const exited = once(server, "exit");
  context.after(async () => {
    server.kill("SIGKILL");
    await exited;
    rmSync(folder, { recursive: true });
  });
  const lines = createInterface({ input: server.stdout })[Symbol.asyncIterator]();
  const address = async (/** @type {string} */ prefix) => {
    const { value } = await lines.next();
    if (!value?.startsWith(prefix)) throw new Error(`no "${prefix}" but ${value}`);
    return value.slice(prefix.length);
  };
  const game = await address("listening on ");
  const admin = await address("admin on ");
  return {
    game,
    admin,
    port: Number(game.split(":")[1]),
    /** Ends the server as an operator does. */
    async stop() {
      server.kill("SIGTERM");
      await exited;
    },
  };
}

/**
 * Makes a certificate for 127.0.0.1 that only itself vouches for. Brings it in PEM, and what a server
 * is configured by to show it.
 *
 * @param {import("node:test").TestContext} context
 */
export function makeCertificate(context) {
  const folder = mkdtempSync(join(tmpdir(), "warren-certificate-"));
  context.after(() => rmSync(folder, { recursive: true }));
  const [certificate, key] = ["certificate.pem", "key.pem"].map((name) => join(folder, name));
  const wanted = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const named = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"];
  const usage = ["-addext", "keyUsage=critical,digitalSignature,keyCertSign"];
  const files = ["-keyout", String(key), "-out", String(certificate)];
  execFileSync("openssl", ["req", "-x509", ...wanted, ...named, ...usage, ...files], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  return {
    pem: readFileSync(String(certificate), "utf8"),
    config: `[tls]\ncertificate = "${certificate}"\nkey = "${key}"\n`,
  };
}

const pass = (/** @type {net.Socket} */ socket) => socket.on("error", () => {}).setNoDelay(true);

/**
 * A port that passes everything on to a server, until it is told to cut.
 *
 * @param {import("node:test").TestContext} context
 * @param {number} port The server's.
 */
export async function startProxy(context, port) {
  let target = /** @type {number | undefined} */ (port);
  /** @type {Set<net.Socket>} */
  const sockets = new Set();
  let budget = Infinity;
  /** @type {((release: () => void) => void) | undefined} */
  let hold;
  const cut = () => sockets.forEach((socket) => socket.resetAndDestroy());
  const proxy = net.createServer((client) => {
    if (target === undefined) {
      client.resetAndDestroy();
      return;
    }
    const server = net.connect(target, "127.0.0.1");
    [client, server].forEach(pass);
    if (hold !== undefined) {
      const resolve = hold;
      hold = undefined;
      context.after(() => (client.destroy(), server.destroy()));
      let asked = "";
      client.on("data", (data) => {
        asked += data;
        if (asked.includes('"resume"')) resolve(() => server.end(asked));
      });
      return;
    }
    const pair = /** @type {const} */ ([
      [client, server],
      [server, client],
    ]);
    for (const [from, to] of pair) {
      sockets.add(from);
      from.on("close", () => (sockets.delete(from), to.destroy()));
      from.on("data", (/** @type {Buffer} */ data) => {
        const passed = data.subarray(0, budget);
        budget -= passed.length;
        to.write(passed);
        if (budget > 0) return;
        budget = Infinity;
        // What was passed leaves before the reset.
        to.write("", cut);
      });
    }
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  context.after(() => {
    cut();
    proxy.close();
  });
  return {
    port: /** @type {net.AddressInfo} */ (proxy.address()).port,
    /** From now on whoever comes is brought to this port; to none, turned away. */
    lead(/** @type {number | undefined} */ port) {
      target = port;
    },
    /** Cuts every connection now. */
    cut,
    /**
     * Keeps a `resume` that comes on the next connection. Resolves with what sends it to the server,
     * also when the client has given it up.
     *
     * @returns {Promise<() => void>}
     */
    holdNext: () => new Promise((resolve) => (hold = resolve)),
    /** Passes so many more bytes, then cuts every connection in the middle of whatever it is. */
    cutAfter(/** @type {number} */ bytes) {
      budget = bytes;
    },
  };
}

/** A number from 1 to `most`, by chance. */
export const chance = (/** @type {number} */ most) => 1 + Math.floor(Math.random() * most);

/**
 * Resolves with the next event of that name that fulfils the condition.
 *
 * @template {keyof import("../dist/methods.js").Messages | keyof import("../dist/client.js").Notices} Name
 * @param {import("../dist/index.js").Client} client
 * @param {Name} name
 * @param {(event: any) => boolean} condition
 * @returns {Promise<any>}
 */
export function next(client, name, condition = () => true) {
  return new Promise((resolve) => {
    const off = client.on(/** @type {any} */ (name), (/** @type {any} */ event) => {
      if (!condition(event)) return;
      off();
      resolve(event);
    });
  });
}
