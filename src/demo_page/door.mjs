// What the demo's pages have in common: the door, and a connection that can be cut.

import { connect } from "/demo/client/index.js";

/** How long a connection that is cut here stays so. */
const CUT_MS = 5_000;

/**
 * @template {HTMLElement} Kind
 * @param {string} id
 * @param {new () => Kind} kind
 */
export function element(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new TypeError(`the page has no ${id}`);
  return found;
}

const state = element("state", HTMLElement);

let cutUntilMs = 0;
/** @type {WebSocket | undefined} */
let socket;
let received = 0;

/** A connection that this page can cut, to show what happens then. */
class CutWebSocket extends WebSocket {
  constructor(/** @type {string} */ url, /** @type {string} */ protocols) {
    super(url, protocols);
    socket = this;
    this.addEventListener("message", ({ data }) => (received += data.length));
    if (performance.now() < cutUntilMs) this.close();
  }
}

/** Characters that have come so far, over all connections: bytes, where names are plain. */
export const receivedCount = () => received;

/** Logs in at the server that the page came from. */
export async function connectHere(/** @type {string} */ user) {
  const { port } = await (await fetch("/demo/config.json")).json();
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const url = `${scheme}://${location.hostname}:${port}/`;
  return connect(url, { user, WebSocket: CutWebSocket });
}

const cut = element("cut", HTMLButtonElement);
cut.addEventListener("click", () => {
  cutUntilMs = performance.now() + CUT_MS;
  cut.disabled = true;
  setTimeout(() => (cut.disabled = false), CUT_MS);
  socket?.close();
});

/** Says at the top of the page what the client is doing. */
export function showState(/** @type {import("/demo/client/index.js").State} */ now) {
  state.dataset.state = now.state;
  if (now.state === "closed") state.textContent = `closed: ${now.error.reason}`;
  else if (now.state === "connected" && now.resumed) state.textContent = "connected, resumed";
  else state.textContent = now.state;
}

/**
 * Lets a guest in by the form: `start` is given the name and the room; when it is done, the door
 * closes, and `inside` is shown. It is called by one at a time, and may be called again when it failed.
 *
 * @param {HTMLElement} inside
 * @param {(user: string, room: string) => Promise<void>} start
 * @param {() => void} entered
 */
export function openDoor(inside, start, entered) {
  const name = element("name", HTMLInputElement);
  const refusal = element("refusal", HTMLElement);
  const button = element("join", HTMLButtonElement);
  name.value = `guest${Math.floor(Math.random() * 10_000)}`;
  element("enter", HTMLFormElement).addEventListener("submit", async (event) => {
    event.preventDefault();
    // Not every way to submit a form looks at its button.
    if (button.disabled) return;
    button.disabled = true;
    refusal.textContent = "";
    try {
      await start(name.value, element("room", HTMLInputElement).value);
      element("door", HTMLElement).hidden = true;
      inside.hidden = false;
      entered();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      refusal.textContent = `That did not work: ${reason}.`;
      state.dataset.state = "connecting";
      state.textContent = "not connected";
      button.disabled = false;
    }
  });
}
