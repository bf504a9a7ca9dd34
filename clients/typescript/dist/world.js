/** A world that a client is in. */
import { WarrenError } from "./error.js";
import { Listeners } from "./listeners.js";
import { View } from "./view.js";
/** See `Client.joinWorld`. */
export class World {
    /** Its name as a room: to chat, and to ask `who` is there. */
    room;
    #client;
    #view = new View();
    #listeners = new Listeners();
    #offs;
    #object = "";
    #ownId = -1;
    #entrance = { x: 0, y: 0, z: 0 };
    #cell = 0;
    #dims = 2;
    #tickHz = 0;
    #tick = -1;
    /** The last one, until it is refused: it is said again on the next connection. */
    #motion;
    #ended;
    constructor(client, room) {
        this.#client = client;
        this.room = room;
        const isHere = (message) => message.room === room;
        this.#offs = [
            client.on("frame", (message) => void (isHere(message) && this.#frame(message))),
            client.on("move", (message) => this.#moveRefused(message)),
            client.on("tick-rate", (message) => void (isHere(message) && this.#tickRateChanged(message))),
            client.on("lost", (cause) => {
                this.#end(new WarrenError("session-lost", 0, undefined, { cause }));
            }),
            client.on("state", (state) => this.#stateChanged(state)),
        ];
    }
    /** @internal Use `Client.joinWorld`. */
    static async join(client, room, at) {
        // It hears before it asks: frames may come in one piece with the reply.
        const world = new World(client, room);
        try {
            const reply = await client.call("join", { ...at, room });
            if (typeof reply.world !== "string") {
                await client.call("leave", { room });
                throw new WarrenError("no-world");
            }
            if (world.#ended !== undefined)
                throw world.#ended;
            world.#object = reply.world;
            world.#ownId = Number(reply.entity);
            const [x, y, z] = [reply.x, reply.y, reply.z ?? 0].map(Number);
            world.#entrance = { x, y, z };
            world.#cell = Number(reply.cell);
            world.#dims = Number(reply.dims);
            world.#tickHz = Number(reply.tick_hz);
        }
        catch (error) {
            world.#forsake();
            throw error;
        }
        return world;
    }
    /** The object's id. */
    get object() {
        return this.#object;
    }
    /** The number of this client's own entity. */
    get ownId() {
        return this.#ownId;
    }
    /** Where this client came in. */
    get entrance() {
        return this.#entrance;
    }
    /** Width of a cell: the client is told of everything within 7/8 of it, and of little beyond two. */
    get cell() {
        return this.#cell;
    }
    /** 2 or 3. */
    get dims() {
        return this.#dims;
    }
    /** Ticks in a second, as it is now. */
    get tickHz() {
        return this.#tickHz;
    }
    /** The tick of the last frame; -1 before the first. */
    get tick() {
        return this.#tick;
    }
    /** What is around, by its number: this client's own entity too. */
    get entities() {
        return this.#view.entities;
    }
    /** This client's own entity, as others see it. */
    get own() {
        return this.#view.entities.get(this.#ownId);
    }
    /**
     * Says how this client's entity moves. The last word before a tick counts. While the connection is
     * lost, the last word is kept and said on the next one.
     */
    move(motion) {
        if (this.#ended !== undefined)
            throw this.#ended;
        this.#motion = motion;
        this.#say(motion);
    }
    /** Hears what the world tells. Returns what ends it. */
    on(name, listener) {
        return this.#listeners.add(name, listener);
    }
    /** Leaves the world. */
    async leave() {
        if (this.#ended !== undefined)
            return;
        await this.#client.call("leave", { room: this.room });
        this.#end(new WarrenError("left"));
    }
    #say(motion) {
        // The server answers only what it refuses; where it does not say the world, it says the `id`.
        this.#client.send("move", { ...motion, room: this.room, id: this.room });
    }
    #frame(message) {
        let frame;
        try {
            frame = this.#view.apply(message);
        }
        catch (error) {
            if (!(error instanceof WarrenError))
                throw error;
            // What is around is not known any more, and whatever else came would be as long.
            this.#client.send("leave", { room: this.room });
            this.#end(error);
            return;
        }
        if (frame === undefined)
            return;
        this.#tick = frame.tick;
        this.#listeners.emit("frame", frame);
    }
    #moveRefused(message) {
        if ((message.room ?? message.id) !== this.room)
            return;
        this.#motion = undefined;
        const { x, y, z = 0 } = message;
        const isPlace = typeof x === "number" && typeof y === "number" && typeof z === "number";
        this.#listeners.emit("refused", {
            error: WarrenError.of(message),
            at: isPlace ? { x, y, z } : undefined,
        });
    }
    #tickRateChanged({ tick_hz }) {
        this.#tickHz = Number(tick_hz);
        this.#listeners.emit("tickRate", this.#tickHz);
    }
    #stateChanged(state) {
        if (state.state === "closed")
            this.#end(state.error);
        else if (state.state === "connected" && state.resumed && this.#motion !== undefined) {
            this.#say(this.#motion);
        }
    }
    #end(error) {
        this.#forsake();
        this.#ended = error;
        this.#listeners.emit("end", error);
    }
    #forsake() {
        for (const off of this.#offs)
            off();
    }
}
