/** Messages, and how they look in JSON: one flat object a frame. */

import { WarrenError } from "./error.js";

/**
 * A field's value. An integer that is beyond JavaScript's safe ones is a `bigint`. An object's id
 * is text, such as `"171.31"`.
 */
export type Value = null | boolean | number | bigint | string | readonly string[] | Uint8Array;

/** The fields of a request. One that is `undefined` is left out. */
export type Fields = { readonly [field: string]: Value | undefined };

/** A message: its method, and its fields. */
export type Message = { readonly msg: string; readonly [field: string]: Value };

/** More fields beside `msg` are refused by every server. */
const FIELDS_MAX = 48;
const NAME = /^[A-Za-z_][A-Za-z0-9_.-]{0,63}$/;
/** What no text may hold: control characters but tab, LF and CR, and half a surrogate pair. */
const NO_TEXT = /[\u0000-\u0008\u000b\u000c\u000e-\u001f]|\p{Surrogate}/u;

/**
 * The frame of a request, without its end.
 *
 * @throws WarrenError with the server's reason, when it would refuse the message.
 */
export function encode(method: string, fields: Fields): string {
  let frame = `{"msg":${JSON.stringify(checkName(method))}`;
  let count = 0;
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    if (name === "msg") throw new WarrenError("duplicate-field");
    count += 1;
    frame += `,${JSON.stringify(checkName(name))}:${encodeValue(value)}`;
  }
  if (count > FIELDS_MAX) throw new WarrenError("too-many-fields");
  return `${frame}}`;
}

function checkName(name: string): string {
  if (!NAME.test(name)) throw new WarrenError("bad-name");
  return name;
}

function encodeText(text: unknown): string {
  if (typeof text !== "string") throw new WarrenError("field-invalid");
  if (NO_TEXT.test(text)) throw new WarrenError("control-character");
  return JSON.stringify(text);
}

function encodeValue(value: Value): string {
  switch (typeof value) {
    case "string":
      return encodeText(value);
    case "number":
      return encodeNumber(value);
    case "bigint":
      if (BigInt.asIntN(64, value) !== value) throw new WarrenError("field-invalid");
      return value.toString();
    case "boolean":
      return value ? "true" : "false";
    default:
      if (value === null) return "null";
      if (value instanceof Uint8Array) return `{"$bytes":"${toBase64(value)}"}`;
      if (Array.isArray(value)) return `[${value.map(encodeText).join()}]`;
      throw new WarrenError("field-invalid");
  }
}

/** Whole numbers are integers where that is exact, and all others floats. */
function encodeNumber(value: number): string {
  if (!Number.isFinite(value)) throw new WarrenError("field-invalid");
  if (Object.is(value, -0)) return "-0.0";
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) return value.toExponential();
  return JSON.stringify(value);
}

/** A string, or a number, in JSON's text. */
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
/** What may be an integer that a JavaScript number does not hold exactly. */
const LONG_INTEGER = /\d{16}/;

/**
 * The message of a frame that a server sent.
 *
 * @throws SyntaxError when it is none.
 */
export function decode(frame: string): Message {
  // `JSON.parse` rounds long integers before anyone sees them; so they travel through it as text.
  const text = LONG_INTEGER.test(frame) ? frame.replace(TOKEN, markLongInteger) : frame;
  const parsed: unknown = JSON.parse(text, revive);
  if (typeof parsed !== "object" || parsed === null || !("msg" in parsed)) {
    throw new SyntaxError("the frame is no message");
  }
  if (typeof parsed.msg !== "string") throw new SyntaxError("the message has no method");
  return parsed as Message;
}

function markLongInteger(token: string): string {
  if (!/^-?\d{16,}$/.test(token) || Number.isSafeInteger(Number(token))) return token;
  // Beyond 64 bits it is a float.
  return BigInt.asIntN(64, BigInt(token)) === BigInt(token) ? `{"$integer":"${token}"}` : token;
}

function revive(name: string, value: unknown): unknown {
  if (name === "" || typeof value !== "object" || value === null) return value;
  if ("$bytes" in value) return fromBase64(String(value.$bytes));
  if ("$integer" in value) return BigInt(String(value.$integer));
  return value;
}

function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
