/** What a member of a world knows of it, by its frames: see `docs/protocol.md`, "Worlds". */
import { WarrenError } from "./error.js";
/**
 * So many characters of a frame that comes in several messages are kept: 256 for each entity that a world
 * can have. See `docs/protocol.md`.
 */
const FRAME_CHARACTERS_MAX = 16 * 1024 * 1024;
/** The entities around a member. */
export class View {
    entities = new Map();
    /** What has come of a frame that more belongs to. */
    #begun;
    /**
     * Applies a `frame`: all of it or, when it throws, nothing. One that comes in several messages is
     * applied with the last of them: the others bring nothing.
     *
     * @throws SyntaxError when it is none.
     * @throws WarrenError with `frame-too-large` when more comes of it than is kept.
     */
    apply({ tick, cell, cells, whole, more }) {
        // A whole one says all there is: what had begun before it was cut off.
        const begun = whole === true ? undefined : this.#begun;
        this.#begun = undefined;
        if (typeof tick !== "number" || typeof cell !== "string" || !Array.isArray(cells)) {
            throw new SyntaxError("the message is no frame");
        }
        const isWhole = whole === true || begun?.isWhole === true;
        let all = cells;
        if (more === true || begun !== undefined) {
            const kept = begun?.cells ?? [];
            const characters = (begun?.characters ?? 0) + length(cells);
            if (characters > FRAME_CHARACTERS_MAX)
                throw new WarrenError("frame-too-large");
            for (const text of cells)
                kept.push(text);
            if (more === true) {
                this.#begun = { isWhole, cells: kept, characters };
                return undefined;
            }
            all = kept;
        }
        const centre = integers(cell.split(":"));
        if (centre.length !== 2 && centre.length !== 3)
            throw new SyntaxError("a frame has no centre");
        const sections = all.map((text) => section(text, centre.length, tick));
        return { tick, centre, isWhole, ...this.#tell(centre, isWhole, sections) };
    }
    #tell(centre, isWhole, sections) {
        const updated = new Set();
        const forgotten = new Set();
        const forget = (id) => {
            if (this.entities.delete(id))
                forgotten.add(id);
        };
        for (const { id, cell } of this.entities.values()) {
            if (isWhole || !touches(cell, centre))
                forget(id);
        }
        for (const { cell, isKey, told } of sections) {
            if (isKey) {
                for (const { id, cell: its } of this.entities.values())
                    if (isSame(its, cell))
                        forget(id);
            }
            for (const { id, entity } of told) {
                if (entity === undefined || !touches(entity.cell, centre))
                    forget(id);
                else {
                    this.entities.set(id, entity);
                    updated.add(id);
                }
            }
        }
        const isThere = (id) => this.entities.has(id);
        return {
            updated: [...updated].filter(isThere),
            gone: [...forgotten].filter((id) => !isThere(id)),
        };
    }
}
/** Characters of sections. Each counts as one more, so that nothing is kept for nothing. */
function length(sections) {
    return sections.reduce((sum, text) => sum + textOf(text).length + 1, 0);
}
function textOf(section) {
    if (typeof section !== "string")
        throw new SyntaxError("a frame's section is no text");
    return section;
}
function numbers(texts) {
    const found = texts.map((text) => (text === "" ? NaN : Number(text)));
    if (found.some(Number.isNaN))
        throw new SyntaxError("a frame holds no numbers");
    return found;
}
function integers(texts) {
    const found = numbers(texts);
    if (!found.every(Number.isInteger))
        throw new SyntaxError("a frame holds no integers");
    return found;
}
function section(text, dims, tick) {
    const [head = "", ...parts] = textOf(text).split(" ");
    const isKey = head.startsWith("*");
    const cell = integers((isKey ? head.slice(1) : head).split(":"));
    if (cell.length !== dims)
        throw new SyntaxError("a frame's section has no cell");
    const told = parts.map((part) => {
        const isLeave = part.startsWith("-");
        const [number = "", ...rest] = (isLeave ? part.slice(1) : part).split(":");
        const [id] = integers([number]);
        if (isLeave && rest.length === 0)
            return { id, entity: undefined };
        const now = isLeave ? integers(rest.splice(0, dims)) : cell;
        return { id, entity: entity(id, now, numbers(rest), tick) };
    });
    return { cell, isKey, told };
}
/** `state`: position, velocity and heading, in as many dimensions as the cell. */
function entity(id, cell, state, tick) {
    if (state.length !== 2 * cell.length + 1)
        throw new SyntaxError("a frame holds half an entity");
    const [x, y, z, vx, vy, vz, heading] = (cell.length === 3 ? state : [state[0], state[1], 0, state[2], state[3], 0, state[4]]);
    return { id, x, y, z, vx, vy, vz, heading, cell, tick };
}
function isSame(cell, other) {
    return cell.every((coordinate, axis) => coordinate === other[axis]);
}
function touches(cell, centre) {
    return cell.every((coordinate, axis) => Math.abs(coordinate - Number(centre[axis])) <= 1);
}
