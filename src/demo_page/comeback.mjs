// How a page comes back into its room when its session was lost.

import { backoffMs } from "/demo/client/backoff.js";

/** @typedef {import("/demo/client/index.js").Client} Client */

/** Time between two tries: up to `baseMs`, doubled with each up to `capMs`. */
const BACKOFF = { baseMs: 500, capMs: 10_000 };

/**
 * From now on, whenever there is a new session in place of one that was lost, `join` is done, until it
 * succeeds or the client is at its end.
 *
 * @param {Client} client
 * @param {string} room
 * @param {() => Promise<void>} join
 * @param {(reason: string) => void} failed Called when it is going to be tried again, for another
 * reason than last time.
 */
export function comeBack(client, room, join, failed) {
  let isTrying = false;

  async function tryAll() {
    let told = "";
    for (let attempt = 0; client.state.state !== "closed"; attempt += 1) {
      const reason = await join().then(() => undefined, reasonOf);
      if (reason === undefined) return;
      // An earlier try has succeeded, but its reply came too late: what it said is not known.
      if (reason === "already-member") await client.call("leave", { room }).catch(() => {});
      else if (reason !== told) failed((told = reason));
      await new Promise((resolve) => setTimeout(resolve, backoffMs(attempt, BACKOFF, Math.random())));
    }
  }

  client.on("lost", async () => {
    // Who is at it when the new session is lost too goes on with the next one.
    if (isTrying) return;
    isTrying = true;
    await tryAll().finally(() => (isTrying = false));
  });
}

const reasonOf = (/** @type {any} */ error) => String(error.reason ?? error);
