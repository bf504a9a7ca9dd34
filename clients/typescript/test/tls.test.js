// The client against the real server, within TLS.

import assert from "node:assert/strict";
import { test } from "node:test";

import { connect } from "../dist/index.js";
import { makeCertificate, next, startServer } from "./server.js";

test("a certificate that is trusted is, and no other", { timeout: 60_000 }, async (context) => {
  const { pem, config } = makeCertificate(context);
  const server = await startServer(context, { config });
  const url = `tls://${server.game}`;
  const ann = await connect(url, { user: "ann", tls: { ca: pem } });
  const bob = await connect(`tcp://${server.game}`, { user: "bob" });
  for (const client of [ann, bob]) await client.call("join", { room: "plaza" });
  const connected = next(ann, "state", ({ state }) => state === "connected");
  ann.reconnect();
  assert.equal((await connected).resumed, true);
  const heard = next(ann, "chat");
  await bob.call("chat", { to: "plaza", text: "over the wall, żółw" });
  assert.equal((await heard).text, "over the wall, żółw");
  await Promise.all([ann.close(), bob.close()]);
  await assert.rejects(connect(url, { user: "ann" }), (error) => {
    assert.equal(/** @type {any} */ (error).reason, "connect-failed");
    assert.match(String(/** @type {any} */ (error).cause), /self-signed certificate/);
    return true;
  });
});
