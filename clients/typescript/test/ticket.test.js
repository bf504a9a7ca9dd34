// Users who prove who they are.

import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { test } from "node:test";

import { connect } from "../dist/index.js";
import { startServer } from "./server.js";

test("a ticket says who logs in, and is fetched for each login", { timeout: 60_000 }, async (context) => {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const { x } = publicKey.export({ format: "jwk" });
  const issue = (/** @type {string} */ user, lifeSeconds = 60) => {
    const exp = Math.floor(Date.now() / 1_000) + lifeSeconds;
    const claims = Buffer.from(JSON.stringify({ user, aud: "warren", exp })).toString("base64url");
    const signed = `w1.main.${claims}`;
    return `${signed}.${sign(null, Buffer.from(signed), privateKey).toString("base64url")}`;
  };
  const server = await startServer(context, {
    config: `[auth]\nmode = "ticket"\nkeys = ["main:${x}"]\n`,
  });
  const url = `tcp://${server.game}`;
  const bob = await connect(url, { ticket: issue("bob") });
  const ann = await connect(url, { ticket: async () => issue("ann") });
  for (const client of [ann, bob]) await client.call("join", { room: "plaza" });
  assert.deepEqual((await ann.call("who", { room: "plaza" })).users, ["ann", "bob"]);
  await Promise.all([ann.close(), bob.close()]);
  for (const [options, reason] of /** @type {const} */ ([
    [{ user: "ann" }, "ticket-missing"],
    [{ user: "ann", ticket: issue("bob") }, "ticket-invalid"],
    [{ ticket: issue("ann", -3_600) }, "ticket-expired"],
  ])) {
    await assert.rejects(connect(url, options), { reason, status: 401 });
  }
});
