// The golden vectors of `tests/vectors`, as this client's values.

import { readFileSync } from "node:fs";

/**
 * @typedef {{[entity: string]: [cell: number[], state: string[]]}} WorldView
 * @typedef {{name: string, protocol: string, direction: string, wire: string, message: [string, ...string[][]], view: WorldView}} Vector
 * @returns {Vector[]}
 */
export function vectors(/** @type {string} */ file) {
  const path = new URL(`../../../tests/vectors/${file}`, import.meta.url);
  return JSON.parse(readFileSync(path, "utf8"));
}

/** The value that a vector's `[name, type, value]` stands for. */
function value(/** @type {string} */ type, /** @type {any} */ text) {
  switch (type) {
    case "null":
      return null;
    case "boolean":
      return text === "true";
    case "integer":
      return Number.isSafeInteger(Number(text)) ? Number(text) : BigInt(text);
    case "float":
      return Number(text);
    case "bytes":
      return Uint8Array.from(Buffer.from(text, "hex"));
    case "text":
    case "object":
    case "list":
      return text;
    default:
      throw new TypeError(`no such type: ${type}`);
  }
}

export function message(/** @type {any[]} */ [msg, ...fields]) {
  return {
    msg,
    ...Object.fromEntries(fields.map(([name, type, text]) => [name, value(type, text)])),
  };
}
