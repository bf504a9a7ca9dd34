// Chromium without a window, driven over a pipe by its DevTools protocol.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * Starts a browser, until the test ends. What it wants to send to `from` (host and port) goes to `to`.
 *
 * @param {import("node:test").TestContext} context
 * @param {{from: string, to: string}} redirection
 * @param {string[]} more More arguments.
 */
export async function startChromium(context, { from, to }, more = []) {
  const profile = mkdtempSync(join(tmpdir(), "warren-chromium-"));
  const browser = spawn(
    process.env.CHROMIUM ?? "chromium",
    [
      "--headless=new",
      "--remote-debugging-pipe",
      `--user-data-dir=${profile}`,
      `--host-resolver-rules=MAP ${from} ${to}`,
      "--disable-gpu",
      "--disable-dev-shm-usage",
      "--no-first-run",
      // Its sandbox does not work for root, nor in most containers; the pages are our own.
      "--no-sandbox",
      ...more,
    ],
    // A group of its own: it is many processes.
    { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"], detached: true },
  );
  const exited = once(browser, "exit");
  context.after(async () => {
    // By itself it leaves nobody behind who still writes to its profile.
    send("Browser.close").catch(() => {});
    const impatience = setTimeout(() => process.kill(-Number(browser.pid), "SIGKILL"), 10_000);
    await exited;
    clearTimeout(impatience);
    rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  });
  const [, , , requests, replies] = /** @type {any} */ (browser.stdio);
  /** @type {Map<number, {resolve(result: any): void, reject(error: Error): void}>} */
  const waiting = new Map();
  /** What to call when the page of a session is loaded. @type {Map<string, () => void>} */
  const loads = new Map();
  let buffered = "";
  replies.setEncoding("utf8");
  replies.on("data", (/** @type {string} */ data) => {
    const messages = (buffered + data).split("\0");
    buffered = messages.pop() ?? "";
    for (const text of messages) {
      const { id, result, error, method, sessionId } = JSON.parse(text);
      if (method === "Page.loadEventFired") loads.get(sessionId)?.();
      const call = waiting.get(id);
      waiting.delete(id);
      if (error === undefined) call?.resolve(result);
      else call?.reject(new Error(error.message));
    }
  });
  void exited.then(() => waiting.forEach(({ reject }) => reject(new Error("the browser ended"))));
  let idNext = 1;

  /** @returns {Promise<any>} */
  function send(/** @type {string} */ method, params = {}, sessionId = /** @type {string | undefined} */ (undefined)) {
    const id = idNext++;
    requests.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
  }

  return {
    /** Opens a page, and returns when it is loaded. `prepare` is run in it before its own scripts. */
    async open(/** @type {string} */ url, prepare = "") {
      const { targetId } = await send("Target.createTarget", { url: "about:blank" });
      const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
      const page = new Page((method, params) => send(method, params, sessionId));
      const loaded = new Promise((resolve) => loads.set(sessionId, () => resolve(undefined)));
      await page.send("Page.enable");
      await page.send("Page.addScriptToEvaluateOnNewDocument", { source: prepare });
      const { errorText } = await page.send("Page.navigate", { url });
      if (errorText !== undefined) throw new Error(`${url}: ${errorText}`);
      await loaded;
      return page;
    },
  };
}

export class Page {
  /** @param {(method: string, params?: object) => Promise<any>} send */
  constructor(send) {
    this.send = send;
  }

  /** What an expression is in the page, awaited. As in its console, `await` may stand in it. */
  async evaluate(/** @type {string} */ expression) {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", {
      expression,
      awaitPromise: true,
      returnByValue: true,
      replMode: true,
    });
    if (exceptionDetails !== undefined) {
      throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    }
    return result.value;
  }

  /** Returns when a condition holds in the page. */
  async until(/** @type {string} */ condition) {
    await this.evaluate(
      `await new Promise((resolve) => {
        const look = () => ((${condition}) ? resolve() : setTimeout(look, 10));
        look();
      })`,
    );
  }

  /** The texts of all elements that a selector finds. */
  texts(/** @type {string} */ selector) {
    const found = `document.querySelectorAll(${JSON.stringify(selector)})`;
    return this.evaluate(`[...${found}].map((element) => element.textContent)`);
  }

  /** Writes into fields, by their ids, and submits their form. */
  async submit(/** @type {Record<string, string>} */ fields) {
    const filled = Object.entries(fields).map(([id, text]) => {
      return `document.getElementById("${id}").value = ${JSON.stringify(text)};`;
    });
    const [id] = Object.keys(fields);
    await this.evaluate(`${filled.join("")} document.getElementById("${id}").form.requestSubmit()`);
  }

  /** What the page looks like, as PNG in base64. */
  async picture(width = 1000, height = 700, scheme = "light") {
    await this.send("Emulation.setDeviceMetricsOverride", {
      ...{ width, height, deviceScaleFactor: 1, mobile: false },
    });
    await this.send("Emulation.setEmulatedMedia", {
      features: [{ name: "prefers-color-scheme", value: scheme }],
    });
    const { data } = await this.send("Page.captureScreenshot", {});
    return data;
  }
}
