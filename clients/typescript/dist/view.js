/** What a member of a world knows of it, by its frames: see `docs/protocol.md`, "Worlds". */
/** The entities around a member. */
export class View {
    entities = new Map();
    /**
     * Applies a `frame`.
     *
     * @throws SyntaxError when it is none.
     */
    apply({ tick, cell, cells, whole }) {
        if (typeof tick !== "number" || typeof cell !== "string" || !Array.isArray(cells)) {
            throw new SyntaxError("the message is no frame");
        }
        const centre = numbers(cell);
        const isWhole = whole === true;
        const updated = new Set();
        const forgotten = new Set();
        const forget = (id) => {
            if (this.entities.delete(id))
                forgotten.add(id);
        };
        const put = (id, at, state) => {
            this.entities.set(id, entity(id, at, state, tick));
            updated.add(id);
        };
        for (const { id, cell: at } of this.entities.values()) {
            if (isWhole || !touches(at, centre))
                forget(id);
        }
        for (const section of cells) {
            const [head = "", ...parts] = section.split(" ");
            const isKey = head.startsWith("*");
            const at = numbers(isKey ? head.slice(1) : head);
            if (isKey) {
                for (const { id, cell: its } of this.entities.values())
                    if (isSame(its, at))
                        forget(id);
            }
            for (const part of parts) {
                const isLeave = part.startsWith("-");
                const [id, ...rest] = numbers(isLeave ? part.slice(1) : part);
                const now = isLeave ? rest.splice(0, centre.length) : at;
                if (now.length === 0 || !touches(now, centre))
                    forget(id);
                else
                    put(id, now, rest);
            }
        }
        const isThere = (id) => this.entities.has(id);
        return {
            tick,
            centre,
            isWhole,
            updated: [...updated].filter(isThere),
            gone: [...forgotten].filter((id) => !isThere(id)),
        };
    }
}
function numbers(text) {
    const found = text.split(":").map(Number);
    if (text === "" || found.some(Number.isNaN))
        throw new SyntaxError("a frame holds no numbers");
    return found;
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
