// Where this page's own dot goes: by keys, or to where the pointer is pressed.

/** Units per second. */
const SPEED = 20;
/** How near the pointer is near enough, in units. */
const ARRIVED = 0.5;
/** A page that was hidden does not make up for it. */
const STEP_MAX_S = 0.1;

/** Directions by `KeyboardEvent.code`: where the keys are, whatever is written on them. */
const KEYS = new Map([
  ["ArrowLeft", [-1, 0]],
  ["KeyA", [-1, 0]],
  ["ArrowRight", [1, 0]],
  ["KeyD", [1, 0]],
  ["ArrowUp", [0, 1]],
  ["KeyW", [0, 1]],
  ["ArrowDown", [0, -1]],
  ["KeyS", [0, -1]],
]);

export class Steering {
  x;
  y;
  vx = 0;
  vy = 0;
  heading = 0;
  /** @type {Set<string>} */
  #pressed = new Set();
  /** Where the pointer is, in pixels of the canvas, while it is pressed. @type {[number, number] | undefined} */
  #pointer;

  constructor(/** @type {HTMLCanvasElement} */ canvas, /** @type {number} */ x, /** @type {number} */ y) {
    this.x = x;
    this.y = y;
    addEventListener("keydown", (event) => {
      const isTyping = event.target instanceof HTMLInputElement;
      if (!KEYS.has(event.code) || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      this.#pressed.add(event.code);
    });
    addEventListener("keyup", ({ code }) => this.#pressed.delete(code));
    addEventListener("blur", () => this.#pressed.clear());
    const point = (/** @type {PointerEvent} */ { offsetX, offsetY }) => {
      this.#pointer = [offsetX, offsetY];
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      point(event);
    });
    canvas.addEventListener("pointermove", (event) => void (this.#pointer && point(event)));
    for (const end of /** @type {const} */ (["pointerup", "pointercancel"])) {
      canvas.addEventListener(end, () => (this.#pointer = undefined));
    }
  }

  /**
   * Goes on for so many seconds. `toWorld` tells which place in the world a pixel is.
   *
   * @param {number} seconds
   * @param {(pixel: [number, number]) => [number, number]} toWorld
   */
  step(seconds, toWorld) {
    const step = Math.min(seconds, STEP_MAX_S);
    let [dx, dy] = [0, 0];
    for (const code of this.#pressed) {
      const [x = 0, y = 0] = KEYS.get(code) ?? [];
      dx += x;
      dy += y;
    }
    let way = Infinity;
    if (this.#pointer !== undefined) {
      const [x, y] = toWorld(this.#pointer);
      [dx, dy] = [x - this.x, y - this.y];
      way = Math.hypot(dx, dy);
      if (way < ARRIVED) [dx, dy] = [0, 0];
    }
    const length = Math.hypot(dx, dy);
    if (length === 0) {
      [this.vx, this.vy] = [0, 0];
      return;
    }
    const [unitX, unitY] = [dx / length, dy / length];
    const moved = Math.min(SPEED * step, way);
    this.x += unitX * moved;
    this.y += unitY * moved;
    [this.vx, this.vy] = [unitX * SPEED, unitY * SPEED];
    this.heading = (Math.atan2(dy, dx) * 180) / Math.PI;
  }

  /** The server says where it is instead. */
  put(/** @type {number} */ x, /** @type {number} */ y) {
    [this.x, this.y] = [x, y];
  }
}
