// A world from above, drawn on a canvas around one place in it.

/** @typedef {import("/demo/client/index.js").World} World */
/** @typedef {import("/demo/client/index.js").Frame} Frame */

/** The shorter side of the canvas shows so many cells. */
const CELLS_SHOWN = 1.5;
/** A dot that is told to be elsewhere than it is drawn goes there: after this time 1/e of the way is left. */
const CATCH_UP_S = 0.1;
/** Nothing is drawn further on its way than it goes in this time, far cells being told each 8th tick. */
const AHEAD_S_MAX = 1;
/** What has gone so many units is put there at once: it has not walked. */
const JUMP = 24;
const DOT_PIXELS = 5;

/** Where something is drawn, and when it was told to be where it is. */
/** @typedef {{x: number, y: number, toldMs: number}} Dot */

export class Scene {
  #canvas;
  #context;
  /** @type {Map<number, Dot>} */
  #dots = new Map();
  /** What is in the middle. */
  #centre = { x: 0, y: 0 };
  /** Pixels of a unit. */
  #scale = 1;
  #drawnMs = 0;
  #colours = { ground: "", known: "", line: "", text: "", own: "" };

  constructor(/** @type {HTMLCanvasElement} */ canvas) {
    this.#canvas = canvas;
    const context = canvas.getContext("2d");
    if (context === null) throw new TypeError("the browser draws on no canvas");
    this.#context = context;
    this.#readColours();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#readColours());
  }

  #readColours() {
    const style = getComputedStyle(document.documentElement);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    this.#colours = {
      ground: colour("--page"),
      known: colour("--panel"),
      line: colour("--line"),
      text: colour("--text"),
      own: colour("--accent"),
    };
  }

  /** Another world, or the same anew. */
  enter(/** @type {World} */ world) {
    const toldMs = performance.now();
    this.#dots.clear();
    for (const { id, x, y } of world.entities.values()) this.#dots.set(id, { x, y, toldMs });
  }

  /** Whatever the frame told of is on its way from where it was told to be. */
  told(/** @type {Frame} */ frame, /** @type {World} */ world) {
    const toldMs = performance.now();
    for (const id of frame.gone) this.#dots.delete(id);
    for (const id of frame.updated) {
      const entity = world.entities.get(id);
      if (entity === undefined) continue;
      const { x, y } = this.#dots.get(id) ?? entity;
      this.#dots.set(id, { x, y, toldMs });
    }
  }

  /** Which place in the world a pixel is. */
  toWorld(/** @type {[number, number]} */ [pixelX, pixelY]) {
    const { clientWidth, clientHeight } = this.#canvas;
    return /** @type {[number, number]} */ ([
      this.#centre.x + (pixelX - clientWidth / 2) / this.#scale,
      this.#centre.y - (pixelY - clientHeight / 2) / this.#scale,
    ]);
  }

  #toPixels(/** @type {{x: number, y: number}} */ { x, y }) {
    const { clientWidth, clientHeight } = this.#canvas;
    return /** @type {[number, number]} */ ([
      clientWidth / 2 + (x - this.#centre.x) * this.#scale,
      clientHeight / 2 - (y - this.#centre.y) * this.#scale,
    ]);
  }

  /**
   * Draws the world as it is now.
   *
   * @param {World} world
   * @param {{x: number, y: number, heading: number}} own Where the page's own dot is: it does not wait for a frame.
   * @param {ReadonlyMap<number, string>} names
   * @param {number} nowMs
   */
  draw(world, own, names, nowMs) {
    const seconds = Math.min((nowMs - this.#drawnMs) / 1_000, AHEAD_S_MAX);
    this.#drawnMs = nowMs;
    this.#centre = own;
    this.#fit(world.cell);
    this.#drawGround(world);
    for (const [id, dot] of this.#dots) {
      const entity = world.entities.get(id);
      if (entity === undefined || id === world.ownId) continue;
      catchUp(dot, entity, nowMs, seconds);
      // Neighbours in number are far apart in colour.
      this.#drawDot(dot, entity.heading, `hsl(${(id * 137.5) % 360} 60% 50%)`, names.get(id));
    }
    this.#drawDot(own, own.heading, this.#colours.own, names.get(world.ownId), true);
  }

  /** As many pixels as the canvas takes on this screen. */
  #fit(/** @type {number} */ cell) {
    const { clientWidth, clientHeight } = this.#canvas;
    const ratio = devicePixelRatio;
    const [width, height] = [clientWidth, clientHeight].map((side) => Math.round(side * ratio));
    if (this.#canvas.width !== width) this.#canvas.width = Number(width);
    if (this.#canvas.height !== height) this.#canvas.height = Number(height);
    this.#context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.#scale = Math.min(clientWidth, clientHeight) / (CELLS_SHOWN * cell);
  }

  /** The grid; the cells that the page is told of are lighter. */
  #drawGround(/** @type {World} */ { cell, own }) {
    const context = this.#context;
    const { clientWidth, clientHeight } = this.#canvas;
    context.fillStyle = this.#colours.ground;
    context.fillRect(0, 0, clientWidth, clientHeight);
    const [column, row] = own?.cell ?? [];
    if (column !== undefined && row !== undefined) {
      const [left, top] = this.#toPixels({ x: (column - 1) * cell, y: (row + 2) * cell });
      context.fillStyle = this.#colours.known;
      context.fillRect(left, top, 3 * cell * this.#scale, 3 * cell * this.#scale);
    }
    context.strokeStyle = this.#colours.line;
    context.lineWidth = 1;
    // Finer lines between, so that one sees one's own way where nobody else is.
    context.globalAlpha = 0.35;
    this.#drawGrid(cell / 8);
    context.globalAlpha = 1;
    this.#drawGrid(cell);
  }

  #drawGrid(/** @type {number} */ width) {
    const context = this.#context;
    const { clientWidth, clientHeight } = this.#canvas;
    const [west, north] = this.toWorld([0, 0]);
    const [east, south] = this.toWorld([clientWidth, clientHeight]);
    context.beginPath();
    for (let x = Math.ceil(west / width) * width; x <= east; x += width) {
      const [at] = this.#toPixels({ x, y: 0 });
      context.moveTo(at, 0);
      context.lineTo(at, clientHeight);
    }
    for (let y = Math.ceil(south / width) * width; y <= north; y += width) {
      const [, at] = this.#toPixels({ x: 0, y });
      context.moveTo(0, at);
      context.lineTo(clientWidth, at);
    }
    context.stroke();
  }

  /**
   * @param {{x: number, y: number}} place
   * @param {number} heading
   * @param {string} colour
   * @param {string | undefined} name
   */
  #drawDot(place, heading, colour, name, isOwn = false) {
    const context = this.#context;
    const [x, y] = this.#toPixels(place);
    const angle = (-heading * Math.PI) / 180;
    context.fillStyle = colour;
    context.beginPath();
    // A drop, whose point is where it looks.
    const [pointX, pointY] = [Math.cos(angle), Math.sin(angle)].map((part) => part * 2.1 * DOT_PIXELS);
    context.arc(x, y, DOT_PIXELS, angle + Math.PI / 3, angle - Math.PI / 3);
    context.lineTo(x + Number(pointX), y + Number(pointY));
    context.closePath();
    context.fill();
    if (isOwn) {
      context.strokeStyle = colour;
      context.lineWidth = 1.5;
      context.beginPath();
      context.arc(x, y, 3 * DOT_PIXELS, 0, 2 * Math.PI);
      context.stroke();
    }
    if (name === undefined) return;
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "center";
    context.fillStyle = this.#colours.text;
    context.fillText(name, x, y - 3.5 * DOT_PIXELS);
  }
}

/**
 * Brings a dot nearer to where its entity is by now.
 *
 * @param {Dot} dot
 * @param {import("/demo/client/index.js").Entity} entity
 * @param {number} nowMs
 * @param {number} seconds Since it was drawn.
 */
function catchUp(dot, entity, nowMs, seconds) {
  const ahead = Math.min(Math.max(0, nowMs - dot.toldMs) / 1_000, AHEAD_S_MAX);
  const [x, y] = [entity.x + entity.vx * ahead, entity.y + entity.vy * ahead];
  const isJump = Math.hypot(x - dot.x, y - dot.y) > JUMP;
  const part = isJump ? 1 : 1 - Math.exp(-seconds / CATCH_UP_S);
  dot.x += (x - dot.x) * part;
  dot.y += (y - dot.y) * part;
}
