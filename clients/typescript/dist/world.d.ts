/** A world that a client is in. */
import type { Client } from "./client.js";
import { WarrenError } from "./error.js";
import { type Entity, type Frame } from "./view.js";
/**
 * Where a member wants to come in: at the world's spawn point where it says nothing. In a world with a
 * `speed_max` all come in there.
 */
export interface Position {
    readonly x?: number;
    readonly y?: number;
    readonly z?: number;
}
/** How a member moves: what is missing is 0. */
export interface Motion {
    /** In the world's units. */
    readonly x: number;
    readonly y: number;
    readonly z?: number;
    /** In units per second: for others, who draw the entity between two frames. */
    readonly vx?: number;
    readonly vy?: number;
    readonly vz?: number;
    /** In degrees. */
    readonly heading?: number;
}
/** A move that the server has not taken. */
export interface Refusal {
    readonly error: WarrenError;
    /** For `too-fast`: where the entity is instead. */
    readonly at: {
        readonly x: number;
        readonly y: number;
        readonly z: number;
    } | undefined;
}
/** What a world tells. */
export interface WorldEvents {
    /** `entities` is as it is now. */
    frame: Frame;
    refused: Refusal;
    /** The server ticks the world more or less often: so many ticks in a second. */
    tickRate: number;
    /**
     * The client is in this world no more, and why. After `session-lost`, join anew; after
     * `frame-too-large` that would end the same way.
     */
    end: WarrenError;
}
/** See `Client.joinWorld`. */
export declare class World {
    #private;
    /** Its name as a room: to chat, and to ask `who` is there. */
    readonly room: string;
    private constructor();
    /** @internal Use `Client.joinWorld`. */
    static join(client: Client, room: string, at: Position): Promise<World>;
    /** The object's id. */
    get object(): string;
    /** The number of this client's own entity. */
    get ownId(): number;
    /** Where this client came in. */
    get entrance(): {
        readonly x: number;
        readonly y: number;
        readonly z: number;
    };
    /** Width of a cell: the client is told of everything within 7/8 of it, and of little beyond two. */
    get cell(): number;
    /** 2 or 3. */
    get dims(): number;
    /** Ticks in a second, as it is now. */
    get tickHz(): number;
    /** The tick of the last frame; -1 before the first. */
    get tick(): number;
    /** What is around, by its number: this client's own entity too. */
    get entities(): ReadonlyMap<number, Entity>;
    /** This client's own entity, as others see it. */
    get own(): Entity | undefined;
    /**
     * Says how this client's entity moves. The last word before a tick counts. While the connection is
     * lost, the last word is kept and said on the next one.
     */
    move(motion: Motion): void;
    /** Hears what the world tells. Returns what ends it. */
    on<Name extends keyof WorldEvents>(name: Name, listener: (event: WorldEvents[Name]) => void): () => void;
    /** Leaves the world. */
    leave(): Promise<void>;
}
