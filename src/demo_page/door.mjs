// What the demo's pages have in common: their header, the door, and a connection that can be cut.

import { connect } from "/demo/client/index.js";

const HEADER = `
  <header>
    <h1><img src="/demo/icon.svg" alt="" width="28" height="28">Warren</h1>
    <nav><a href="/demo">Chat</a><a href="/demo/world">World</a></nav>
    <p id="state" role="status" data-state="offline">not connected</p>
  </header>`;
/** What a name may be: that of a user, and that of a room. */
const NAME = String.raw`required maxlength="64" pattern="[A-Za-z_][A-Za-z0-9_.\-]*" spellcheck="false"
  title="a letter or _, then letters, digits and _ . -"`;
const DOOR = `
  <main id="door">
    <form id="enter">
      <h2 id="invitation"></h2>
      <p id="explanation"></p>
      <label>Name <input id="name" ${NAME} autocomplete="username"></label>
      <label><span id="place-kind"></span> <input id="room" ${NAME} autocomplete="off"></label>
      <p id="refusal" role="alert"></p>
      <button id="join">Join</button>
    </form>
  </main>`;
const WHERE = `<h2><span id="where"></span> <span id="count"></span></h2>`;
const CUT = `<button id="cut" type="button">Cut my connection</button>`;

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

document.body.insertAdjacentHTML("afterbegin", HEADER + DOOR);
document.querySelector("aside")?.insertAdjacentHTML("afterbegin", WHERE);
element("buttons", HTMLElement).insertAdjacentHTML("beforeend", CUT);
for (const link of document.querySelectorAll("nav a")) {
  if (link.getAttribute("href") === location.pathname) link.setAttribute("aria-current", "page");
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
 * What stands at a door: what it invites to, a word more about it, what kind of place is behind it, and
 * the name of the one that is offered.
 *
 * @typedef {{invitation: string, explanation: string, placeKind: string, room: string}} Sign
 */

/**
 * Lets a guest in by the form: `start` is given the name and the room; when it is done, the door
 * closes, and what is inside is shown. It is called by one at a time, and may be called again when it
 * failed.
 *
 * @param {Sign} sign
 * @param {(user: string, room: string) => Promise<void>} start
 * @param {() => void} entered
 */
export function openDoor(sign, start, entered) {
  const name = element("name", HTMLInputElement);
  const room = element("room", HTMLInputElement);
  const refusal = element("refusal", HTMLElement);
  const button = element("join", HTMLButtonElement);
  element("invitation", HTMLElement).textContent = sign.invitation;
  element("explanation", HTMLElement).textContent = sign.explanation;
  element("place-kind", HTMLElement).textContent = sign.placeKind;
  name.value = `guest${Math.floor(Math.random() * 10_000)}`;
  room.value = sign.room;
  element("enter", HTMLFormElement).addEventListener("submit", async (event) => {
    event.preventDefault();
    // Not every way to submit a form looks at its button.
    if (button.disabled) return;
    button.disabled = true;
    refusal.textContent = "";
    const where = room.value;
    try {
      await start(name.value, where);
      element("door", HTMLElement).hidden = true;
      element("inside", HTMLElement).hidden = false;
      element("where", HTMLElement).textContent = where;
      document.title = `${where} · Warren`;
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
