"""Stacks of `perf script` as a flame graph, folded lines and a table.

    perf script -F comm,ip,sym,dso | flame_graph.py NAME [TITLE]

Writes NAME.folded (a line for each stack: frames from the root, `;` between them, and how often it
was seen), NAME.svg (a click on a frame makes it as wide as the picture, one on the lowest shows all)
and NAME.txt (share of kernel and user, most frequent functions). Standard library only.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html import escape

WIDTH = 1200
ROW = 17
CHARACTER = 6.6
TOP = 20
KERNEL = "_[k]"

Stack = tuple[str, ...]


def stacks(lines: Iterable[str]) -> Iterator[Stack]:
    """Each sample's frames from the root. Frames of the kernel end in `_[k]`."""
    frames: list[str] = []
    thread = ""
    for line in lines:
        line = line.rstrip("\n")
        if not line.strip():
            if thread:
                yield (thread, *reversed(frames))
            frames, thread = [], ""
        elif not line[0].isspace():
            thread = line.strip()
        else:
            frame = frame_of(line)
            if frame:
                frames.append(frame)
    if thread:
        yield (thread, *reversed(frames))


def frame_of(line: str) -> str | None:
    """The function of a line `ADDRESS NAME (OBJECT)`; none where the unwinder has left the stack."""
    found = re.match(r"\s*[0-9a-f]+\s+(.*) \((.*)\)$", line)
    if not found:
        raise ValueError(f"no frame: {line!r}")
    name, origin = found.groups()
    if name == "[unknown]":
        return None if origin == "[unknown]" else f"[{origin.rsplit('/', 1)[-1].strip('[]')}]"
    # The hash of a mangled Rust name, and what would end a frame in the folded form.
    name = re.sub(r"::h[0-9a-f]{16}$", "", name).replace(";", ":")
    name = re.sub(r"<impl ([^<>]*)>", lambda part: part[1].rsplit("::", 1)[-1], name)
    is_kernel = origin.startswith("[") and origin != "[vdso]"
    return name + KERNEL if is_kernel else name


def folded(counts: Counter[Stack]) -> str:
    return "".join(f"{';'.join(stack)} {count}\n" for stack, count in sorted(counts.items()))


def table(counts: Counter[Stack]) -> str:
    """Where the time goes: kernel and user, and the functions in which samples were taken."""
    total = counts.total()
    kernel = sum(count for stack, count in counts.items() if stack[-1].endswith(KERNEL))
    alone: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for stack, count in counts.items():
        alone[stack[-1]] += count
        for frame in set(stack[1:]):
            within[frame] += count
    lines = [f"{total} samples: {share(kernel, total)} kernel, {share(total - kernel, total)} user"]
    ranked = sorted(alone.items(), key=lambda entry: (-entry[1], entry[0]))
    in_user = [entry for entry in ranked if not entry[0].endswith(KERNEL)]
    for title, entries in (("function", ranked), ("function in user space", in_user)):
        lines += ["", f"   itself  with callees  {title}"]
        for name, count in entries[:TOP]:
            lines.append(f"{share(count, total):>9}{share(within[name], total):>14}  {shown(name)}")
    return "\n".join(lines) + "\n"


def share(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} %" if total else "0 %"


def shown(name: str) -> str:
    return name.removesuffix(KERNEL) + " (kernel)" if name.endswith(KERNEL) else name


@dataclass
class Node:
    """A frame of the picture, with what it calls."""

    count: int = 0
    callees: dict[str, "Node"] = field(default_factory=dict)


def tree(counts: Counter[Stack]) -> Node:
    root = Node()
    for stack, count in counts.items():
        node = root
        node.count += count
        for frame in stack:
            node = node.callees.setdefault(frame, Node())
            node.count += count
    return root


def rectangles(node: Node, name: str, left: int, depth: int) -> Iterator[tuple[str, int, int, int]]:
    """Name, first sample, samples and depth of a frame and of all above it, by name within a frame."""
    yield name, left, node.count, depth
    for callee, child in sorted(node.callees.items()):
        yield from rectangles(child, callee, left, depth + 1)
        left += child.count


def colour(name: str) -> str:
    """Kernel blue, our own code orange, other user code yellow; shades by name."""
    shade = sum(name.encode()) % 40
    if name.endswith(KERNEL):
        return f"rgb({110 + shade},{160 + shade},{220 + shade // 2})"
    if name.startswith(("warren", "<warren")):
        return f"rgb({225 + shade // 2},{120 + shade},60)"
    return f"rgb({235 + shade // 4},{195 + shade // 2},{90 + shade})"


SCRIPT = """
const frames = [...document.querySelectorAll('g.frame')];
function show(first, samples, depth) {
  for (const frame of frames) {
    const [at, count, level] = ['at', 'count', 'level'].map(key => Number(frame.dataset[key]));
    const start = Math.max(at, first), end = Math.min(at + count, first + samples);
    frame.style.display = end > start ? '' : 'none';
    const x = (start - first) * WIDTH / samples, width = Math.max((end - start) * WIDTH / samples, 0);
    const rect = frame.querySelector('rect'), text = frame.querySelector('text');
    rect.setAttribute('x', x);
    rect.setAttribute('width', width);
    rect.style.opacity = level < depth ? 0.5 : 1;
    text.setAttribute('x', x + 3);
    const room = Math.floor((width - 4) / CHARACTER), name = frame.dataset.name;
    text.textContent = room < 3 ? '' : name.length <= room ? name : name.slice(0, room - 1) + '…';
  }
}
for (const frame of frames) {
  const {at, count, level} = frame.dataset;
  frame.addEventListener('click', () => show(Number(at), Number(count), Number(level)));
}
"""


def picture(counts: Counter[Stack], title: str) -> str:
    """A self-contained SVG: the root at the bottom."""
    total = max(counts.total(), 1)
    boxes = list(rectangles(tree(counts), "all", 0, 0))
    depth_max = max(depth for _, _, _, depth in boxes)
    height = (depth_max + 3) * ROW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="monospace" font-size="11">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="3" y="14">{escape(title)} ({counts.total()} samples)</text>',
    ]
    for name, left, count, depth in boxes:
        x, width = left * WIDTH / total, count * WIDTH / total
        y = height - (depth + 1) * ROW
        room = int((width - 4) / CHARACTER)
        name = shown(name)
        label = "" if room < 3 else name if len(name) <= room else name[: room - 1] + "…"
        parts.append(
            f'<g class="frame" data-at="{left}" data-count="{count}" data-level="{depth}" '
            f'data-name="{escape(name)}"><title>{escape(name)}: {share(count, total)}</title>'
            f'<rect x="{x:.2f}" y="{y}" width="{width:.2f}" height="{ROW - 1}" '
            f'fill="{colour(name if "(kernel)" not in name else name[:-9] + KERNEL)}"/>'
            f'<text x="{x + 3:.2f}" y="{y + 12}">{escape(label)}</text></g>'
        )
    script = SCRIPT.replace("WIDTH", str(WIDTH)).replace("CHARACTER", str(CHARACTER))
    parts.append(f"<script><![CDATA[{script}]]></script></svg>")
    return "\n".join(parts) + "\n"


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    name = sys.argv[1]
    counts = Counter(stacks(sys.stdin))
    if not counts:
        sys.exit("flame_graph.py: no samples")
    for ending, text in (
        ("folded", folded(counts)),
        ("svg", picture(counts, sys.argv[-1])),
        ("txt", table(counts)),
    ):
        with open(f"{name}.{ending}", "w", encoding="utf-8") as file:
            file.write(text)
    print(table(counts), end="")


if __name__ == "__main__":
    main()
