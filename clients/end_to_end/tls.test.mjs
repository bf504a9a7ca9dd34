// The client in a browser, over WebSocket within TLS.

import assert from "node:assert/strict";
import { X509Certificate, createHash } from "node:crypto";
import { test } from "node:test";

import { makeCertificate, startServer } from "../typescript/test/server.js";
import { startChromium } from "./chromium.mjs";

test("a page reaches a server by wss", { timeout: 120_000 }, async (context) => {
  const { pem, config } = makeCertificate(context);
  const server = await startServer(context, { config: `${config}required = true\n` });
  const key = new X509Certificate(pem).publicKey.export({ type: "spki", format: "der" });
  const trusted = createHash("sha256").update(key).digest("base64");
  const nowhere = { from: "nowhere", to: "nowhere" };
  const browser = await startChromium(context, nowhere, [
    `--ignore-certificate-errors-spki-list=${trusted}`,
  ]);
  const page = await browser.open(`http://${server.admin}/demo`);
  const said = await page.evaluate(`
    const { connect } = await import("/demo/client/index.js");
    const client = await connect("wss://${server.game}/", { user: "ann" });
    await client.call("join", { room: "plaza" });
    const heard = new Promise((resolve) => client.on("chat", ({ text }) => resolve(text)));
    await client.call("chat", { to: "plaza", text: "over the wall, żółw" });
    const text = await heard;
    await client.close();
    text;
  `);
  assert.equal(said, "over the wall, żółw");
});
