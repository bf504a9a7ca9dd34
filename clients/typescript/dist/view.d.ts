/** What a member of a world knows of it, by its frames: see `docs/protocol.md`, "Worlds". */
import type { Message } from "./message.js";
/** Something with a position in a world, as the member was last told of it. */
export interface Entity {
    /** Its number in this world. Given again some time after it has gone. */
    readonly id: number;
    /** In the world's units; `z` is 0 in a flat world. */
    readonly x: number;
    readonly y: number;
    readonly z: number;
    /** In units per second. The server moves nothing by it. */
    readonly vx: number;
    readonly vy: number;
    readonly vz: number;
    /** In degrees, from 0. */
    readonly heading: number;
    /** The coordinates of the cell in which it is. */
    readonly cell: readonly number[];
    /** The tick by which it was told. */
    readonly tick: number;
}
/** What a frame has changed. */
export interface Frame {
    /** The number of the tick. Numbers are skipped where nothing has changed. */
    readonly tick: number;
    /** The coordinates of the cell around which the member is told of everything. */
    readonly centre: readonly number[];
    /** It told everything anew: the first one is so, and whichever follows on a gap. */
    readonly isWhole: boolean;
    /** The entities that were told: those that are new or have changed, and at times others. */
    readonly updated: readonly number[];
    /** The entities that were known and are not any more: out of view, or gone from the world. */
    readonly gone: readonly number[];
}
/** The entities around a member. */
export declare class View {
    #private;
    readonly entities: Map<number, Entity>;
    /**
     * Applies a `frame`: all of it or, when it throws, nothing. One that comes in several messages is
     * applied with the last of them: the others bring nothing.
     *
     * @throws SyntaxError when it is none.
     * @throws WarrenError with `frame-too-large` when more comes of it than is kept.
     */
    apply({ tick, cell, cells, whole, more }: Message): Frame | undefined;
}
