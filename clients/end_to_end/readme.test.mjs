// What the README says to paste works: every block of its quick start, as it stands there.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

import { connect } from "../typescript/dist/index.js";
import { binary, next, startServer } from "../typescript/test/server.js";
import { startChromium } from "./chromium.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The blocks of a chapter, in order. */
function chapter(/** @type {string} */ name) {
  const readme = readFileSync(`${root}README.md`, "utf8");
  const [, text = ""] = new RegExp(`\n## ${name}\n(.*?)\n## `, "s").exec(readme) ?? [];
  return [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(([, language, block = ""]) => ({ language, block }));
}

/** The blocks of the quick start, in order, with the addresses of a server that runs. */
function blocks(/** @type {{game: string, admin: string, port: number}} */ server) {
  return chapter("In a minute").map(({ language, block }) => ({
    language,
    text: block
      .replaceAll("127.0.0.1:7171", server.game)
      .replaceAll("127.0.0.1 7171", `127.0.0.1 ${server.port}`)
      .replaceAll("127.0.0.1:7172", server.admin),
  }));
}

/**
 * Runs a block in a shell, in the clone, as someone who pastes it: what follows `$ nc …` is typed.
 *
 * @param {import("node:test").TestContext} context
 * @param {string} text
 * @param {string} cwd
 */
function paste(context, text, cwd = root) {
  const [, command = text, typed = ""] = /^\$ (nc .*?)\n(.*)/s.exec(text) ?? [];
  // A group of its own, which is ended as a whole.
  const shell = spawn("bash", ["-c", command], { cwd, detached: true });
  const exited = once(shell, "exit");
  context.after(async () => {
    if (shell.pid !== undefined && shell.exitCode === null) process.kill(-shell.pid, "SIGKILL");
    await exited;
  });
  if (typed === "") shell.stdin.end();
  else shell.stdin.write(typed);
  let output = "";
  return {
    /** Resolves to all that the block printed when this stands in it. */
    printed: (/** @type {string} */ wanted) =>
      /** @type {Promise<string>} */ (new Promise((resolve, reject) => {
        const take = (/** @type {Buffer | string} */ data) => {
          output += data;
          if (output.includes(wanted)) resolve(output);
        };
        shell.stdout.on("data", take);
        shell.stderr.on("data", take);
        void exited.then(() => reject(new Error(`it ended, and had printed: ${output}`)));
      })),
  };
}

test("everyone whom the README sends meets in the plaza", { timeout: 120_000 }, async (context) => {
  const server = await startServer(context);
  const host = await connect(`tcp://${server.game}`, { user: "host" });
  await host.call("join", { room: "plaza" });
  // Whoever says something is answered, so that each of them hears the others too.
  /** @type {Promise<unknown>[]} */
  const welcomes = [];
  const off = host.on("chat", ({ from, text }) => {
    if (from === "host") return;
    welcomes.push(host.call("chat", { to: "plaza", text: `welcome, ${from}: ${text}` }));
  });
  context.after(() => {
    off();
    return host.close();
  });
  const browser = await startChromium(context, { from: "nowhere", to: "nowhere" });
  const page = await browser.open(`http://${server.admin}/demo`);
  const speakers = [];
  for (const { language, text } of blocks(server)) {
    if (!text.includes("plaza")) continue;
    const heard = next(host, "chat", ({ from }) => from !== "host");
    if (language === "js") {
      // What it logs is collected, since a console cannot be read.
      const collect = "globalThis.logged = []; console.log = (line) => void logged.push(line);";
      await page.evaluate(`${collect}${text}`);
      const { from } = await heard;
      await page.until(`logged.some((line) => line.includes("welcome, ${from}"))`);
      speakers.push("browser");
    } else {
      const pasted = paste(context, text);
      const welcomed = pasted.printed("welcome, ");
      const { from } = await Promise.race([heard, welcomed.then(() => heard)]);
      assert.match(from, /^[a-z]+$/);
      await welcomed;
      speakers.push(/python|node|nc/.exec(text)?.[0]);
    }
  }
  assert.deepEqual(speakers, ["nc", "nc", "browser", "node", "python"]);
  // Others talk on until the end, and the server ends before hooks: what the host has begun to say is said here.
  off();
  await Promise.all(welcomes);
});

test("whoever does what the README says has a method of their own", { timeout: 120_000 }, async (context) => {
  const folder = mkdtempSync(join(tmpdir(), "warren-readme-"));
  context.after(() => rmSync(folder, { recursive: true }));
  const [serve = "", ask = "", reload = ""] = chapter("Your own methods").map(({ block }) => block);
  // As in the clone, but for the folder and the ports.
  const binaries = (/** @type {string} */ text) => text.replaceAll(/\.\.?\/run\b/g, binary("warren"));
  const ports = "serve --listen 127.0.0.1:0 --admin 127.0.0.1:0";
  const made = binaries(serve).replace("../clients", `${root}clients`).replace("serve", ports);
  const told = await paste(context, made, folder).printed("working for");
  assert.match(told, /Ran \d+ tests in .*\n\nOK/);
  const [, port = ""] = /listening on \S+:(\d+)/.exec(told) ?? [];
  const [, admin = ""] = /admin on (\S+)/.exec(told) ?? [];
  const hit = (/** @type {number} */ hp) => {
    const asked = paste(context, ask.replace("7171", port), folder);
    const answer = `"msg":"combat.attack","status":0,"hp":${hp}`;
    return Promise.all(['"event":"combat.hit"', answer].map(asked.printed));
  };
  await hit(13);
  const game = join(folder, "game", "game.py");
  writeFileSync(game, readFileSync(game, "utf8").replace("DAMAGE = 7", "DAMAGE = 9"));
  const order = binaries(reload).replace("ctl", `ctl --admin ${admin}`);
  await paste(context, `${order}echo "it is $?"`, folder).printed("it is 0");
  await hit(4);
});

/** The block in a client's README that has to do with a world. */
function worldBlock(/** @type {string} */ client, /** @type {string} */ game) {
  const readme = readFileSync(`${root}clients/${client}/README.md`, "utf8");
  const texts = [...readme.matchAll(/^```\w*\n(.*?)^```$/gms)].map(([, text = ""]) => text);
  const found = texts.find((text) => text.includes("meadow")) ?? "";
  return found.replace("127.0.0.1:7171", game).replace('"warren-client"', `"${library}"`);
}

const library = new URL("../typescript/dist/index.js", import.meta.url);

test("whoever does what the clients' READMEs say walks in one world", { timeout: 120_000 }, async (context) => {
  const server = await startServer(context);
  for (const [client, command] of /** @type {const} */ ([
    ["typescript", "node --input-type=module"],
    ["python", "PYTHONPATH=clients/python/src python3 -u -"],
  ])) {
    const text = worldBlock(client, server.game);
    const pasted = paste(context, `${command} <<'END'\n${text}END\n`);
    // Where the entity is at last: the tick comes before, the heading behind.
    await pasted.printed(client === "python" ? " 5.0 4.0 0.0\n" : " 5 4 0\n");
  }
  const host = await connect(`tcp://${server.game}`, { user: "host" });
  context.after(() => host.close());
  const world = await host.joinWorld("meadow");
  const { users } = await host.call("who", { room: world.room });
  assert.deepEqual([...users].sort(), ["host", "pia", "tess"]);
});
