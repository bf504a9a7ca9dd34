// The demo's page: one room, over the client library.

import { comeBack } from "./comeback.mjs";
import { connectHere, element, openDoor, showState } from "./door.mjs";

/** Older lines go. */
const LINES_MAX = 500;

const textInput = element("text", HTMLInputElement);
const lines = element("lines", HTMLElement);
const memberList = element("members", HTMLElement);
const count = element("count", HTMLElement);

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

let isLost = false;

function hearState(/** @type {import("/demo/client/index.js").State} */ now) {
  showState(now);
  if (now.state === "connected" && now.resumed) {
    addLine("note", `Resumed. Missed meanwhile: ${now.replayed}.`);
  } else if (now.state === "reconnecting" && !isLost) {
    // Told once, however often it is tried.
    addLine("note", "The connection is lost.");
  } else if (now.state === "closed") {
    addLine("fault", `The server said: ${now.error.reason}. Load the page again to come back.`);
  }
  isLost = now.state === "reconnecting";
}

async function start(/** @type {string} */ user, /** @type {string} */ room) {
  const client = await connectHere(user);

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
  client.on("state", hearState);
  client.on("lost", ({ reason }) => {
    addLine("fault", `A new session (${reason}): something may have been missed.`);
  });
  comeBack(client, room, join, (reason) => addLine("fault", `Not in the room: ${reason}. It is tried again.`));
  hearState(client.state);
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
}

openDoor(
  {
    invitation: "Come in",
    explanation: "Open this page twice, or join with the command-line clients of the README: all meet in one room.",
    placeKind: "Room",
    room: "plaza",
  },
  start,
  () => textInput.focus(),
);
