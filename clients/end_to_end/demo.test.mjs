// The demo's page in a browser.

import assert from "node:assert/strict";
import { test } from "node:test";

import { chance, startProxy, startServer } from "../typescript/test/server.js";
import { startChromium } from "./chromium.mjs";

/** Two pages of one server, in a room. The connection of the first goes by the proxy. */
async function talk(/** @type {import("node:test").TestContext} */ context) {
  const server = await startServer(context);
  const proxy = await startProxy(context, server.port);
  const redirection = { from: server.game, to: `127.0.0.1:${proxy.port}` };
  const [first, second] = await Promise.all([
    startChromium(context, redirection),
    startChromium(context, { from: "nowhere", to: "nowhere" }),
  ]);
  const url = `http://${server.admin}/demo`;
  const [ann, bob] = await Promise.all([first.open(url), second.open(url)]);
  for (const [page, name] of /** @type {const} */ ([
    [ann, "ann"],
    [bob, "bob"],
  ])) {
    await page.submit({ name, room: "plaza" });
    await page.until("!document.getElementById('inside').hidden");
  }
  return { ann, bob, proxy };
}

const say = (/** @type {import("./chromium.mjs").Page} */ page, /** @type {string} */ text) =>
  page.submit({ text });
const heard = (/** @type {string} */ text) =>
  `[...document.querySelectorAll("#lines li")].some((line) => line.textContent.endsWith("${text}"))`;

test("two pages talk, and see who is there", { timeout: 120_000 }, async (context) => {
  const { ann, bob } = await talk(context);
  await ann.until("document.querySelectorAll('#members li').length === 2");
  assert.deepEqual(await ann.texts("#members li"), ["ann", "bob"]);
  assert.deepEqual(await bob.texts("#members li"), ["ann", "bob"]);
  assert.deepEqual(await ann.texts("#state"), ["connected"]);
  await say(ann, "hello <b>żółw</b> 🐇");
  await bob.until(heard("🐇"));
  assert.deepEqual(await bob.texts("#lines .other"), ["annhello <b>żółw</b> 🐇"]);
  await say(bob, "and to you");
  await ann.until(heard("and to you"));
});

test("a page whose connection is cut misses no line", { timeout: 120_000 }, async (context) => {
  const { ann, bob, proxy } = await talk(context);
  const lines = Array.from({ length: 100 }, (_, index) => `line ${index}.`);
  for (const [index, line] of lines.entries()) {
    if (index % 20 === 10) proxy.cut();
    if (index % 20 === 15) proxy.cutAfter(chance(500));
    await say(bob, line);
    await bob.until(heard(line));
  }
  await ann.until(heard("line 99."));
  assert.deepEqual(
    await ann.texts("#lines .other"),
    lines.map((line) => `bob${line}`),
  );
  // The last cut may come behind the last line.
  await ann.until("document.getElementById('state').textContent === 'connected, resumed'");
  assert.deepEqual(await ann.texts("#lines .fault"), []);
  // Nobody saw it come or go.
  assert.deepEqual(await bob.texts("#lines .note"), []);
});

test("the page can cut its own connection", { timeout: 120_000 }, async (context) => {
  const { ann, bob } = await talk(context);
  await ann.evaluate("document.getElementById('cut').click()");
  await ann.until("document.getElementById('state').dataset.state === 'reconnecting'");
  await say(bob, "while you were away");
  await say(ann, "I say this meanwhile");
  await ann.until(heard("while you were away"));
  await bob.until(heard("I say this meanwhile"));
  assert.deepEqual(await ann.texts("#state"), ["connected, resumed"]);
  assert.deepEqual(await ann.texts("#lines .other"), ["bobwhile you were away"]);
});
