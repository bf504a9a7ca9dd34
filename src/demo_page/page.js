// The demo's page: one room, over the client library.

import { connect } from "/demo/client/index.js";

/** How long a connection that is cut here stays so. */
const CUT_MS = 5_000;
/** Older lines go. */
const LINES_MAX = 500;

/**
 * @template {HTMLElement} Kind
 * @param {string} id
 * @param {new () => Kind} kind
 */
function element(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new TypeError(`the page has no ${id}`);
  return found;
}

const door = element("door", HTMLElement);
const chat = element("chat", HTMLElement);
const state = element("state", HTMLElement);
const nameInput = element("name", HTMLInputElement);
const roomInput = element("room", HTMLInputElement);
const refusal = element("refusal", HTMLElement);
const textInput = element("text", HTMLInputElement);
const lines = element("lines", HTMLElement);
const memberList = element("members", HTMLElement);
const count = element("count", HTMLElement);
const cutButton = element("cut", HTMLButtonElement);

let cutUntilMs = 0;
/** @type {WebSocket | undefined} */
let socket;

/** A connection that this page can cut, to show what happens then. */
class CutWebSocket extends WebSocket {
  constructor(/** @type {string} */ url, /** @type {string} */ protocols) {
    super(url, protocols);
    socket = this;
    if (performance.now() < cutUntilMs) this.close();
  }
}

function addLine(/** @type {string} */ kind, /** @type {string} */ text, from = "") {
  const isAtEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
  const item = document.createElement("li");
  item.className = kind;
  if (from !== "") {
    const speaker = document.createElement("b");
    speaker.textContent = from;
    item.append(speaker);
  }
  item.append(text);
  lines.append(item);
  if (lines.childElementCount > LINES_MAX) lines.firstElementChild?.remove();
  if (isAtEnd) item.scrollIntoView({ block: "end" });
}

/** Who is in the room, as far as it tells. */
const members = new Set();

function showMembers(/** @type {number} */ number) {
  count.textContent = `(${number})`;
  const names = [...members].sort();
  memberList.replaceChildren(
    ...names.map((name) => {
      const item = document.createElement("li");
      item.textContent = name;
      return item;
    }),
  );
}

function showState(/** @type {import("/demo/client/index.js").State} */ now) {
  state.dataset.state = now.state;
  switch (now.state) {
    case "connecting":
      state.textContent = "connecting";
      break;
    case "connected":
      state.textContent = now.resumed ? "connected, resumed" : "connected";
      if (now.resumed) addLine("note", `Resumed. Missed meanwhile: ${now.replayed}.`);
      break;
    case "reconnecting":
      // Told once, however often it is tried.
      if (state.textContent !== "reconnecting") addLine("note", "The connection is lost.");
      state.textContent = "reconnecting";
      break;
    case "closed":
      state.textContent = `closed: ${now.error.reason}`;
      addLine("fault", `The server said: ${now.error.reason}. Load the page again to come back.`);
  }
}

async function start(/** @type {string} */ user, /** @type {string} */ room) {
  const { port } = await (await fetch("/demo/config.json")).json();
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const url = `${scheme}://${location.hostname}:${port}/`;
  const client = await connect(url, { user, WebSocket: CutWebSocket });

  async function join() {
    members.clear();
    const { members: number } = await client.call("join", { room });
    const { users } = await client.call("who", { room, count: 250 });
    for (const member of users) members.add(member);
    showMembers(Math.max(number, members.size));
  }

  client.on("chat", ({ from, text }) => addLine(from === user ? "own" : "other", text, from));
  client.on("joined", (message) => {
    members.add(message.user);
    showMembers(members.size);
    if (message.user !== user) addLine("note", `${message.user} came in.`);
  });
  client.on("left", (message) => {
    members.delete(message.user);
    showMembers(members.size);
    addLine("note", `${message.user} left.`);
  });
  client.on("members", (message) => showMembers(message.count));
  client.on("state", showState);
  client.on("lost", ({ reason }) => {
    addLine("fault", `A new session (${reason}): something may have been missed.`);
    join().catch((error) => addLine("fault", `Not in the room: ${error.reason}.`));
  });
  showState(client.state);
  try {
    await join();
  } catch (error) {
    await client.close();
    throw error;
  }

  element("say", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    const text = textInput.value;
    textInput.value = "";
    client.call("chat", { to: room, text }).catch((error) => {
      addLine("fault", `Not said (${error.reason}): ${text}`);
    });
  });
  cutButton.addEventListener("click", () => {
    cutUntilMs = performance.now() + CUT_MS;
    cutButton.disabled = true;
    setTimeout(() => (cutButton.disabled = false), CUT_MS);
    socket?.close();
  });
  element("where", HTMLElement).textContent = room;
  document.title = `${room} · Warren`;
}

nameInput.value = `guest${Math.floor(Math.random() * 10_000)}`;
element("enter", HTMLFormElement).addEventListener("submit", async (event) => {
  event.preventDefault();
  refusal.textContent = "";
  try {
    await start(nameInput.value, roomInput.value);
    door.hidden = true;
    chat.hidden = false;
    textInput.focus();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    refusal.textContent = `That did not work: ${reason}.`;
    showState({ state: "connecting" });
    state.textContent = "not connected";
  }
});
