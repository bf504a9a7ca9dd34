// What messages look like in JSON.

import assert from "node:assert/strict";
import { test } from "node:test";

import { decode, encode } from "../dist/message.js";
import { message, vectors } from "./vectors.js";

const json = vectors("json.json");

for (const vector of json) {
  test(`reads: ${vector.name}`, () => {
    assert.deepEqual(decode(vector.wire.replace(/[\n\0]$/, "")), message(vector.message));
  });
}

// An integral float is an integer in JavaScript, and in what `find` compares.
const written = json.filter(({ direction, name }) => direction === "both" && !/float/.test(name));
for (const vector of written) {
  test(`writes: ${vector.name}`, () => {
    const { msg, ...fields } = message(vector.message);
    assert.equal(`${encode(msg, fields)}\n`, vector.wire);
  });
}

test("there are vectors to write", () => assert.ok(written.length >= 9));

test("numbers keep what they are, as far as JavaScript knows it", () => {
  const fields = { a: -0, b: 1e300, c: 0.1, d: 7, e: 2 ** 53, f: 2n ** 63n - 1n };
  const frame = encode("m", fields);
  assert.equal(
    frame,
    '{"msg":"m","a":-0.0,"b":1e+300,"c":0.1,"d":7,"e":9.007199254740992e+15,"f":9223372036854775807}',
  );
  assert.deepEqual(decode(frame), { msg: "m", ...fields });
});

test("digits in text are no numbers", () => {
  const text = 'a "9223372036854775807" \\ 9223372036854775807';
  assert.equal(decode(encode("m", { text, n: 2n ** 60n })).text, text);
});

test("fields that are undefined are left out", () => {
  assert.equal(encode("m", { a: undefined, b: 1 }), '{"msg":"m","b":1}');
});

test("what a server would refuse is refused before it is sent", () => {
  const many = Object.fromEntries(Array.from({ length: 49 }, (_, index) => [`f${index}`, 1]));
  const cases = /** @type {const} */ ([
    ["bad name", {}, "bad-name"],
    ["m", { "1": 1 }, "bad-name"],
    ["m", { ["n".repeat(65)]: 1 }, "bad-name"],
    ["m", { msg: "n" }, "duplicate-field"],
    ["m", { a: "\u0007" }, "control-character"],
    ["m", { a: "\ud800" }, "control-character"],
    ["m", { a: ["b", "\0"] }, "control-character"],
    ["m", { a: [1] }, "field-invalid"],
    ["m", { a: {} }, "field-invalid"],
    ["m", { a: NaN }, "field-invalid"],
    ["m", { a: 2n ** 63n }, "field-invalid"],
    ["m", many, "too-many-fields"],
  ]);
  for (const [method, fields, reason] of cases) {
    assert.throws(() => encode(method, /** @type {any} */ (fields)), { reason }, JSON.stringify(reason));
  }
});

test("what is no message is not taken for one", () => {
  for (const frame of ["", "{", "[]", "1", "null", "{}", '{"msg":1}']) {
    assert.throws(() => decode(frame), SyntaxError, frame);
  }
});
