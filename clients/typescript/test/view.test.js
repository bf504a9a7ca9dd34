// What a member of a world knows by its frames.

import assert from "node:assert/strict";
import { test } from "node:test";

import { decode } from "../dist/message.js";
import { View } from "../dist/view.js";
import { vectors } from "./vectors.js";

const frames = vectors("world.json").filter(({ protocol, view }) => protocol === "json" && view);
/** By room: what is known there. @type {Map<unknown, View>} */
const views = new Map();

for (const { name, wire, view } of frames) {
  test(name, () => {
    const message = decode(wire);
    const known = views.get(message.room) ?? new View();
    views.set(message.room, known);
    const before = new Set(known.entities.keys());
    const frame = known.apply(message);
    assert.ok(frame);
    /** @type {typeof view} */
    const now = {};
    for (const { id, cell, x, y, z, vx, vy, vz, heading } of known.entities.values()) {
      const flat = [x, y, vx, vy, heading];
      const state = cell.length === 2 ? flat : [x, y, z, vx, vy, vz, heading];
      now[id] = [[...cell], state.map(String)];
    }
    assert.deepEqual(now, view);
    assert.equal(frame.tick, message.tick);
    assert.equal(frame.isWhole, message.whole === true);
    const gone = [...before].filter((id) => !known.entities.has(id));
    assert.deepEqual([...frame.gone].sort(), gone.sort());
    for (const [id, { tick }] of known.entities) {
      assert.equal(frame.updated.includes(id), tick === frame.tick, String(id));
    }
  });
}

test("there are frames to apply", () => assert.ok(frames.length >= 9));

test("what is no frame is refused, and none of it applied", () => {
  const whole = { msg: "frame", tick: 1, cell: "0:0", whole: true, cells: ["*0:0 1:2:3:0:0:90"] };
  const view = new View();
  view.apply(whole);
  const before = [...view.entities];
  const right = "0:1 2:2:70:0:0:90";
  for (const wrong of [
    { tick: null },
    { cell: "" },
    { cell: "0:x" },
    { cell: "0" },
    { cells: null },
    { cells: [right, ""] },
    { cells: [right, 5] },
    { cells: [right, "0 3:2:3"] },
    { cells: [right, "*0:0 1:2:3"] },
    { cells: [right, "*0:0 1.5:2:3:0:0:90"] },
    { cells: [right, "*0:0 1::3:0:0:90"] },
    { cells: [right, "*0:0 -1:0:0:2"] },
    { cells: [right, "*0:0 -1:0"] },
  ]) {
    const message = /** @type {any} */ ({ ...whole, ...wrong });
    assert.throws(() => view.apply(message), SyntaxError, JSON.stringify(wrong));
    assert.deepEqual([...view.entities], before, JSON.stringify(wrong));
  }
});

test("a frame in several messages is applied with the last of them", () => {
  const view = new View();
  const frame = { msg: "frame", cell: "0:0" };
  view.apply({ ...frame, tick: 1, whole: true, cells: ["*0:0 1:2:3:0:0:90 2:2:3:0:0:90 3:1:1:0:0:0"] });
  const before = [...view.entities];
  const first = { ...frame, tick: 2, whole: true, more: true, cells: ["*0:0 1:2:3:0:0:90"] };
  assert.equal(view.apply(first), undefined);
  assert.equal(view.apply({ ...frame, tick: 2, more: true, cells: ["0:0 2:2:3:0:0:90"] }), undefined);
  assert.deepEqual([...view.entities], before);
  assert.deepEqual(view.apply({ ...frame, tick: 2, cells: ["0:1 4:2:70:0:0:90"] }), {
    ...{ tick: 2, centre: [0, 0], isWhole: true, updated: [1, 2, 4], gone: [3] },
  });
  // One that is cut off is void.
  view.apply({ ...frame, tick: 3, more: true, cells: ["0:0 -1"] });
  const { updated, gone } = view.apply({ ...first, tick: 4, more: false }) ?? {};
  assert.deepEqual([updated, gone], [[1], [2, 4]]);
});

test("what is kept of a frame in several messages has a bound", () => {
  const view = new View();
  const part = { msg: "frame", cell: "0:0", tick: 1, more: true };
  const half = "x".repeat(8 * 1024 * 1024 - 1);
  const isTooLarge = { name: "WarrenError", reason: "frame-too-large" };
  view.apply({ ...part, cells: [half] });
  view.apply({ ...part, cells: [half] });
  assert.throws(() => view.apply({ ...part, cells: [""] }), isTooLarge);
  // The last message counts too, and what was kept is gone with the frame.
  view.apply({ ...part, cells: [half, half] });
  assert.throws(() => view.apply({ ...part, more: false, cells: [""] }), isTooLarge);
  assert.deepEqual(view.apply({ ...part, more: false, cells: ["0:0 1:2:3:0:0:90"] })?.updated, [1]);
  // Sections without a character are not kept for nothing.
  const many = new Array(1024 * 1024).fill("");
  for (let round = 0; round < 16; round += 1) view.apply({ ...part, cells: many });
  assert.throws(() => view.apply({ ...part, cells: [""] }), isTooLarge);
  assert.throws(() => view.apply(/** @type {any} */ ({ ...part, cells: [5] })), SyntaxError);
});
