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

test("what is no frame is refused", () => {
  const whole = { msg: "frame", tick: 1, cell: "0:0", cells: ["*0:0 1:2:3:0:0:90"] };
  new View().apply(whole);
  for (const wrong of [
    { tick: null },
    { cell: "" },
    { cell: "0:x" },
    { cells: null },
    { cells: [""] },
    { cells: ["*0:0 1:2:3"] },
    { cells: ["*0:0 -1:0:0:2"] },
  ]) {
    assert.throws(() => new View().apply({ ...whole, ...wrong }), SyntaxError, JSON.stringify(wrong));
  }
});
