// The demo's world: everybody as a dot, one of them to steer, over the client library.

import { comeBack } from "./comeback.mjs";
import { connectHere, element, openDoor, receivedCount, showState } from "./door.mjs";
import { Scene } from "./scene.mjs";
import { Steering } from "./steering.mjs";

/** @typedef {import("/demo/client/index.js").Client} Client */
/** @typedef {import("/demo/client/index.js").World} World */

/** Time between two moves that are said. */
const MOVE_INTERVAL_MS = 100;
/** Time between two looks at the figures. */
const FIGURES_INTERVAL_MS = 1_000;
/** Time between two questions for names, where the world does not tell who comes. */
const NAMES_INTERVAL_MS = 5_000;
/** Pages of `who`, of 250 names each, that are asked for. */
const WHO_PAGES_MAX = 8;
/** Guests come in at most so far from the middle, in units: they shall meet. */
const ENTRANCE = 20;
/** Those nearest who are listed. */
const NEAR_MAX = 30;

/** Of the world that the first who comes makes. */
const SETTINGS = { cell: 64, tick_hz: 10 };

const canvas = element("canvas", HTMLCanvasElement);
const namesButton = element("names", HTMLButtonElement);
const near = element("near", HTMLElement);
const notice = element("notice", HTMLElement);

/** Joins a world, which is made if there is none. */
async function joinWorld(
  /** @type {Client} */ client,
  /** @type {string} */ room,
  /** @type {{x: number, y: number}} */ { x, y },
) {
  await client.call("create", { kind: "world", room, ...SETTINGS }).catch((error) => {
    if (error.reason !== "name-taken") throw error;
  });
  return client.joinWorld(room, { x, y });
}

/** The users of a world by their entities. */
class Names {
  /** @type {Map<number, string>} */
  #users = new Map();
  /** While they are asked for: those that have been told. @type {Map<number, string> | undefined} */
  #asked;
  /** They may be others by now. */
  #isStale = false;
  /** When they may be asked for again. */
  #dueMs = 0;
  #failure = "";
  #client;
  #room;
  #changed;

  /**
   * @param {Client} client
   * @param {string} room
   * @param {() => void} changed Called when there are other names.
   */
  constructor(client, room, changed) {
    this.#client = client;
    this.#room = room;
    this.#changed = changed;
    client.on("joined", (message) => {
      if (message.room !== room || !this.isShown) return;
      for (const users of this.#known()) users.set(Number(message.entity), message.user);
      changed();
    });
    client.on("left", (message) => {
      if (message.room !== room) return;
      for (const users of this.#known()) {
        for (const [id, user] of users) if (user === message.user) users.delete(id);
      }
      changed();
    });
    // A large world does not tell who comes and goes: a number may be another's by now.
    client.on("members", (message) => {
      if (message.room === room) this.#isStale = true;
    });
  }

  #known() {
    return this.#asked === undefined ? [this.#users] : [this.#users, this.#asked];
  }

  get isShown() {
    return namesButton.getAttribute("aria-pressed") === "true";
  }

  /** Nobody, while they are not asked for. */
  get users() {
    return this.isShown ? this.#users : new Map();
  }

  /** All are asked for now, if they are shown. */
  renew() {
    this.#isStale = true;
    this.#dueMs = 0;
    this.look(performance.now());
  }

  /** Asks for them when they are shown and may be others by now, at most every `NAMES_INTERVAL_MS`. */
  look(/** @type {number} */ nowMs) {
    if (!this.isShown || !this.#isStale || nowMs < this.#dueMs) return;
    this.#dueMs = nowMs + NAMES_INTERVAL_MS;
    this.#isStale = false;
    this.#ask().catch((error) => {
      this.#isStale = true;
      this.#failure = `No names yet: ${error.message}.`;
      notice.textContent = this.#failure;
    });
  }

  async #ask() {
    /** @type {Map<number, string>} */
    const asked = new Map();
    this.#asked = asked;
    /** @type {string | undefined} */
    let after;
    for (let page = 0; page < WHO_PAGES_MAX; page += 1) {
      const from = after === undefined ? {} : { after };
      const reply = await this.#client.call("who", { room: this.#room, count: 250, ...from });
      // The answer to the last question counts.
      if (this.#asked !== asked) return;
      reply.users.forEach((user, index) => asked.set(Number(reply.entities?.[index]), user));
      after = reply.after;
      if (after === undefined) break;
    }
    [this.#users, this.#asked] = [asked, undefined];
    if (notice.textContent === this.#failure) notice.textContent = "";
    this.#changed();
  }
}

/** Who of those with a name is in view, the nearest first. */
function showNear(/** @type {World} */ world, /** @type {ReadonlyMap<number, string>} */ users) {
  const { own } = world;
  const listed = [...users].flatMap(([id, user]) => {
    const entity = world.entities.get(id);
    if (entity === undefined || own === undefined || id === world.ownId) return [];
    return [{ user, ...entity, way: Math.hypot(entity.x - own.x, entity.y - own.y) }];
  });
  listed.sort((one, other) => one.way - other.way);
  near.replaceChildren(
    ...listed.slice(0, NEAR_MAX).map(({ user, x, y }) => {
      const item = document.createElement("li");
      const place = document.createElement("span");
      place.textContent = ` ${x.toFixed(1)}, ${y.toFixed(1)}`;
      item.append(user, place);
      return item;
    }),
  );
}

/** What was counted since the last look. */
class Figures {
  #bytes = receivedCount();
  #frames = 0;
  #sinceMs = performance.now();

  frame() {
    this.#frames += 1;
  }

  show(/** @type {World} */ world, /** @type {Steering} */ { x, y }) {
    const nowMs = performance.now();
    const seconds = (nowMs - this.#sinceMs) / 1_000;
    const bytes = receivedCount();
    const set = (/** @type {string} */ id, /** @type {string} */ text) => {
      element(id, HTMLElement).textContent = text;
    };
    set("place", `${x.toFixed(1)}, ${y.toFixed(1)}`);
    set("tick", String(world.tick));
    set("rate", `${world.tickHz} Hz, ${(this.#frames / seconds).toFixed(1)} frames/s`);
    set("bytes", `${((bytes - this.#bytes) / 1_000 / seconds).toFixed(1)} kB/s`);
    set("count", `(${world.entities.size} in view)`);
    [this.#bytes, this.#frames, this.#sinceMs] = [bytes, 0, nowMs];
  }
}

/** Says where the own dot is, at most every `MOVE_INTERVAL_MS`, and once when it stands. */
class Moves {
  #saidMs = 0;
  #said = "";

  say(/** @type {World} */ world, /** @type {Steering} */ { x, y, vx, vy, heading }, /** @type {number} */ nowMs) {
    if (nowMs - this.#saidMs < MOVE_INTERVAL_MS) return;
    const motion = { x, y, vx, vy, heading };
    const text = JSON.stringify(motion);
    if (text === this.#said) return;
    [this.#saidMs, this.#said] = [nowMs, text];
    world.move(motion);
  }
}

async function start(/** @type {string} */ user, /** @type {string} */ room) {
  const client = await connectHere(user);
  client.on("state", showState);
  showState(client.state);
  const anywhere = () => (Math.random() * 2 - 1) * ENTRANCE;
  const first = await joinWorld(client, room, { x: anywhere(), y: anywhere() }).catch(async (error) => {
    await client.close();
    throw error;
  });
  const steering = new Steering(canvas, first.entrance.x, first.entrance.y);
  const scene = new Scene(canvas);
  const figures = new Figures();
  const moves = new Moves();
  /** @type {World | undefined} */
  let world;
  const names = new Names(client, room, () => void (world && showNear(world, names.users)));

  function enter(/** @type {World} */ joined) {
    world = joined;
    notice.textContent = "";
    // Not everywhere may one choose.
    steering.put(joined.entrance.x, joined.entrance.y);
    scene.enter(joined);
    joined.on("frame", (frame) => {
      figures.frame();
      scene.told(frame, joined);
      showNear(joined, names.users);
    });
    joined.on("refused", ({ error, at }) => {
      notice.textContent = `The server did not take a move: ${error.reason}.`;
      if (at !== undefined) steering.put(at.x, at.y);
    });
    joined.on("end", ({ reason }) => {
      world = undefined;
      notice.textContent = `Not in the world any more: ${reason}.`;
    });
    names.renew();
  }

  comeBack(
    client,
    room,
    async () => enter(await joinWorld(client, room, steering)),
    (reason) => (notice.textContent = `Not in the world: ${reason}. It is tried again.`),
  );
  enter(first);
  namesButton.addEventListener("click", () => {
    namesButton.setAttribute("aria-pressed", String(!names.isShown));
    if (names.isShown) names.renew();
    else near.replaceChildren();
  });
  setInterval(() => {
    if (world === undefined) return;
    figures.show(world, steering);
    names.look(performance.now());
  }, FIGURES_INTERVAL_MS);
  let drawnMs = performance.now();
  const draw = (/** @type {number} */ nowMs) => {
    requestAnimationFrame(draw);
    steering.step((nowMs - drawnMs) / 1_000, (pixel) => scene.toWorld(pixel));
    drawnMs = nowMs;
    if (world === undefined) return;
    moves.say(world, steering, nowMs);
    scene.draw(world, steering, names.users, nowMs);
  };
  requestAnimationFrame(draw);
}

openDoor(
  {
    invitation: "Walk in",
    explanation: "Open this page twice: each sees the other move. Whoever comes first to a world makes it.",
    placeKind: "World",
    room: "meadow",
  },
  start,
  () => canvas.focus(),
);
