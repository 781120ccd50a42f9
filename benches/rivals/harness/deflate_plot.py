"""permessage-deflate, as SVG: bars from zero, one panel for each question."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from xml.sax.saxutils import escape

from harness.deflate_tables import MODE_NAMES
from harness.names import size_name
from harness.svg import FAINT, INK, LINES, text

# Told apart also by those who do not see red and green alike, and on paper.
COLOURS = {"taut": "#0b6fa4", "yawc": "#e69f00", "yawc, lean": "#f3d07a", "sockudo-ws": "#7a8b99", "ws": "#3b9b6d"}
GROUPS = {"plain": "plain", "no-takeover": "no takeover"}

# A server, its value and what is written beside it; a group of these; a panel of groups.
Bar = tuple[str, float | None, str]
Group = tuple[str, list[Bar]]
Panel = tuple[str, list[Group]]

PANEL = 430
BAR, GAP = 15, 9
LEFT, RIGHT = 92, 90
TOP, BOTTOM = 58, 40


def cpu(results: dict) -> str:
    """A panel for each size and context; in it a group for each level."""
    rows = [row for row in results["echo"] if row["mode"] != "plain"]
    panels = []
    for size in sorted({row["size"] for row in rows}):
        for mode in dict.fromkeys(row["mode"] for row in rows):
            groups = []
            for level in sorted({row["level"] for row in rows}):
                bars = []
                for row in rows:
                    if (row["size"], row["mode"], row["level"]) != (size, mode, level):
                        continue
                    if "problem" in row:
                        bars.append((row["server"], None, "cannot"))
                        continue
                    value = statistics.median(row["microseconds"])
                    bars.append((row["server"], value, f"{value:.1f} · {row['sent']:.0%}"))
                groups.append((f"level {level}", bars))
            panels.append((f"{size_name(size)}, {MODE_NAMES[mode]}", groups))
    settings = results["settings"]
    return picture(
        "CPU time of a compressed echo",
        "Microseconds of the server for each message, user and system (shorter is better) · bytes it sends for 100 "
        "plain ones.",
        f"{settings['connections']} connections, one message on its way on each. Median of {settings['rounds']} "
        f"rounds of {settings['seconds']:g} s.",
        "µs",
        panels,
    )


def memory(results: dict) -> str:
    """One panel without the windows of context takeover, one with them."""
    panels = []
    for title, modes in (
        ("no compression, no context takeover", ("plain", "no-takeover")),
        ("context takeover, by the window of the server", ("takeover",)),
    ):
        groups = []
        rows = [row for row in results["memory"] if row["mode"] in modes]
        for mode, bits in dict.fromkeys((row["mode"], row["bits"]) for row in rows):
            bars = []
            for row in rows:
                if (row["mode"], row["bits"]) != (mode, bits):
                    continue
                value = None if "problem" in row else row["bytes"] / 1024
                bars.append((row["server"], value, "cannot" if value is None else f"{value:.1f}"))
            if len(bars) > 1:
                groups.append((f"{bits} bits" if mode == "takeover" else GROUPS[mode], bars))
        panels.append((title, groups))
    return picture(
        "Memory of an idle connection",
        "Resident KiB of the server for each connection that exchanged a dozen messages of "
        f"{size_name(results['settings']['memory_size'])} and fell silent (less is better).",
        f"{results['settings']['idle_connections']} connections. Median of {results['settings']['memory_rounds']} "
        "rounds.",
        "KiB",
        panels,
    )


def picture(title: str, subtitle: str, conditions: str, unit: str, panels: list[Panel]) -> str:
    """Two panels beside each other in a row, on one scale."""
    rows = [panels[number : number + 2] for number in range(0, len(panels), 2)]
    heights = [max(height(groups) for _, groups in row) for row in rows]
    width = 2 * PANEL + 20
    servers = list(dict.fromkeys(bar[0] for _, groups in panels for _, bars in groups for bar in bars))
    legend = 114
    total = legend + 14 + sum(heights)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {total}" width="{width}" height="{total}" '
        'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">',
        f'<rect width="{width}" height="{total}" fill="#ffffff"/>',
        text(16, 30, title, 19, weight=600),
        text(16, 52, subtitle, 12.5, FAINT),
        text(16, 70, conditions, 12.5, FAINT),
    ]
    x = 16
    for server in servers:
        parts.append(f'<rect x="{x}" y="88" width="13" height="13" rx="2" fill="{COLOURS[server]}"/>')
        parts.append(text(x + 19, 99, server, 13))
        x += 34 + 8 * len(server)
    y = legend
    for row, tall in zip(rows, heights):
        values = [value for _, groups in row for _, bars in groups for _, value, _ in bars if value is not None]
        for number, (name, groups) in enumerate(row):
            parts += panel(number * (PANEL + 20), y, name, unit, groups, scale(max(values, default=1)))
        y += tall
    return "\n".join([*parts, "</svg>", ""])


def height(groups: list[Group]) -> int:
    bars = sum(len(bars) for _, bars in groups)
    return TOP + bars * BAR + len(groups) * GAP + BOTTOM


def panel(
    left: int, top: int, name: str, unit: str, groups: list[Group], axis: tuple[float, float]
) -> Iterator[str]:
    step, most = axis
    wide = PANEL - LEFT - RIGHT
    bottom = top + height(groups) - BOTTOM
    yield text(left + 16, top + 32, name, 14.5, weight=600)
    for number in range(round(most / step) + 1):
        x = left + LEFT + wide * number * step / most
        yield f'<line x1="{x:.1f}" y1="{top + 46}" x2="{x:.1f}" y2="{bottom}" stroke="{LINES}"/>'
        label = f"{number * step:g}" + (f" {unit}" if number == round(most / step) else "")
        yield text(x, bottom + 17, label, 11.5, FAINT, "middle")
    y = top + TOP
    for group, bars in groups:
        yield text(left + LEFT - 9, y + len(bars) * BAR / 2 + 4, group, 12.5, INK, "end")
        for server, value, label in bars:
            long = 0 if value is None else wide * value / most
            if value is not None:
                yield (
                    f'<rect x="{left + LEFT}" y="{y + 1}" width="{long:.1f}" height="{BAR - 2}" '
                    f'fill="{COLOURS[server]}"><title>{escape(server)}, {escape(group)}: {escape(label)}</title></rect>'
                )
            yield text(left + LEFT + long + 5, y + BAR - 4, label, 11.5)
            y += BAR
        y += GAP
    yield f'<line x1="{left + LEFT}" y1="{top + 46}" x2="{left + LEFT}" y2="{bottom}" stroke="{FAINT}"/>'


def scale(most: float) -> tuple[float, float]:
    """The step of the axis, and its end: four to eight round steps from zero."""
    step = 1e-3
    while True:
        for factor in (1, 2, 5):
            if most / (step * factor) <= 6:
                count = int(-(-most // (step * factor)))
                return step * factor, step * factor * count
        step *= 10
