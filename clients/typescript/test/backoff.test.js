import assert from "node:assert/strict";
import { test } from "node:test";

import { backoffMs } from "../dist/backoff.js";

const backoff = { baseMs: 250, capMs: 10_000 };

test("the bound doubles up to the cap, and all of it is used", () => {
  const bounds = [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000];
  for (const [attempt, bound] of bounds.entries()) {
    assert.equal(backoffMs(attempt, backoff, 0), 0);
    assert.equal(backoffMs(attempt, backoff, 0.5), bound / 2);
    assert.equal(backoffMs(attempt, backoff, 1 - 2 ** -53), bound - 1);
  }
});

test("a client that was away for months waits no longer", () => {
  assert.equal(backoffMs(100_000, backoff, 0.5), 5_000);
});
