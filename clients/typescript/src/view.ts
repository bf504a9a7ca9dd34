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
export class View {
  readonly entities = new Map<number, Entity>();

  /**
   * Applies a `frame`.
   *
   * @throws SyntaxError when it is none.
   */
  apply({ tick, cell, cells, whole }: Message): Frame {
    if (typeof tick !== "number" || typeof cell !== "string" || !Array.isArray(cells)) {
      throw new SyntaxError("the message is no frame");
    }
    const centre = numbers(cell);
    const isWhole = whole === true;
    const updated = new Set<number>();
    const forgotten = new Set<number>();
    const forget = (id: number): void => {
      if (this.entities.delete(id)) forgotten.add(id);
    };
    const put = (id: number, at: readonly number[], state: readonly number[]): void => {
      this.entities.set(id, entity(id, at, state, tick));
      updated.add(id);
    };
    for (const { id, cell: at } of this.entities.values()) {
      if (isWhole || !touches(at, centre)) forget(id);
    }
    for (const section of cells as string[]) {
      const [head = "", ...parts] = section.split(" ");
      const isKey = head.startsWith("*");
      const at = numbers(isKey ? head.slice(1) : head);
      if (isKey) {
        for (const { id, cell: its } of this.entities.values()) if (isSame(its, at)) forget(id);
      }
      for (const part of parts) {
        const isLeave = part.startsWith("-");
        const [id, ...rest] = numbers(isLeave ? part.slice(1) : part) as [number, ...number[]];
        const now = isLeave ? rest.splice(0, centre.length) : at;
        if (now.length === 0 || !touches(now, centre)) forget(id);
        else put(id, now, rest);
      }
    }
    const isThere = (id: number): boolean => this.entities.has(id);
    return {
      tick,
      centre,
      isWhole,
      updated: [...updated].filter(isThere),
      gone: [...forgotten].filter((id) => !isThere(id)),
    };
  }
}

function numbers(text: string): number[] {
  const found = text.split(":").map(Number);
  if (text === "" || found.some(Number.isNaN)) throw new SyntaxError("a frame holds no numbers");
  return found;
}

/** `state`: position, velocity and heading, in as many dimensions as the cell. */
function entity(
  id: number,
  cell: readonly number[],
  state: readonly number[],
  tick: number,
): Entity {
  if (state.length !== 2 * cell.length + 1) throw new SyntaxError("a frame holds half an entity");
  const [x, y, z, vx, vy, vz, heading] = (
    cell.length === 3 ? state : [state[0], state[1], 0, state[2], state[3], 0, state[4]]
  ) as [number, number, number, number, number, number, number];
  return { id, x, y, z, vx, vy, vz, heading, cell, tick };
}

function isSame(cell: readonly number[], other: readonly number[]): boolean {
  return cell.every((coordinate, axis) => coordinate === other[axis]);
}

function touches(cell: readonly number[], centre: readonly number[]): boolean {
  return cell.every((coordinate, axis) => Math.abs(coordinate - Number(centre[axis])) <= 1);
}
