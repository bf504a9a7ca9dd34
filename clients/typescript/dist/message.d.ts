/** Messages, and how they look in JSON: one flat object a frame. */
/**
 * A field's value. An integer that is beyond JavaScript's safe ones is a `bigint`. An object's id
 * is text, such as `"171.31"`.
 */
export type Value = null | boolean | number | bigint | string | readonly string[] | Uint8Array;
/** The fields of a request. One that is `undefined` is left out. */
export type Fields = {
    readonly [field: string]: Value | undefined;
};
/** A message: its method, and its fields. */
export type Message = {
    readonly msg: string;
    readonly [field: string]: Value;
};
/**
 * The frame of a request, without its end.
 *
 * @throws WarrenError with the server's reason, when it would refuse the message.
 */
export declare function encode(method: string, fields: Fields): string;
/**
 * The message of a frame that a server sent.
 *
 * @throws SyntaxError when it is none.
 */
export declare function decode(frame: string): Message;
