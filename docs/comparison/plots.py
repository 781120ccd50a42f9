"""The plots of the comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness import svg

WIDTH = 980
NAMES = 150
ROW = 27
BAR = 15

OK, LESSER, OPEN, FAILED = svg.GROUPS["ours"], "#e0a526", "#9aa5b1", "#c2452d"


@dataclass(frozen=True)
class Part:
    """A piece of a bar."""

    name: str
    colour: str
    value: float


@dataclass(frozen=True)
class Bar:
    name: str
    parts: tuple[Part, ...]
    told: str


def stacked(title: str, notes: list[str], panels: list[tuple[str, list[Bar]]]) -> str:
    """Panels beside each other, each with bars of parts; a bar's length is its share of the longest in the panel."""
    gap, told = 24, 74
    wide = (WIDTH - 2 * svg.MARGIN - gap * (len(panels) - 1)) / len(panels)
    entries = {part.name: part.colour for _, bars in panels for bar in bars for part in bar.parts}
    # One colour is what the notes say.
    parts = svg.legend(svg.MARGIN, 2, list(entries.items())) if len(entries) > 1 else []
    top = 54.0 if parts else 30.0
    for number, (name, bars) in enumerate(panels):
        left = svg.MARGIN + number * (wide + gap)
        parts.append(svg.text(left, top - 8, name, 13.5, weight=600))
        most = max((sum(part.value for part in bar.parts) for bar in bars), default=1) or 1
        long = wide - NAMES - told
        for row, bar in enumerate(bars):
            y = top + 6 + row * ROW
            parts.append(name_of(bar.name, left + NAMES - 10, y + BAR - 3))
            x = left + NAMES
            for part in bar.parts:
                length = long * part.value / most
                if part.value:
                    parts.append(
                        svg.rect(x, y, length, BAR, part.colour, title=f"{bar.name}: {part.value:g} {part.name}")
                    )
                x += length
            parts.append(svg.text(x + 7, y + BAR - 3, bar.told, 12, svg.FAINT))
    height = top + max((len(bars) for _, bars in panels), default=0) * ROW + 16
    return svg.picture(WIDTH, height, title, notes, parts)


@dataclass(frozen=True)
class Dots:
    """What a library takes over what taut takes, in each of some cases."""

    name: str
    group: str
    ratios: Sequence[tuple[str, float]]
    middle: float


def beside(title: str, notes: list[str], about: str, rows: list[Dots]) -> str:
    """A line for each library: a dot for each case, and a bar at the median. Logarithmic."""
    left, right, top = NAMES + 30, 90, 34
    long = WIDTH - left - right
    values = [ratio for row in rows for _, ratio in row.ratios]
    low = min(0.5, 2 ** math.floor(math.log2(min(values, default=1))))
    high = 2 ** math.ceil(math.log2(max(values, default=2)))
    place = lambda ratio: left + long * math.log(ratio / low) / math.log(high / low)
    height = top + ROW * len(rows) + 44
    parts = svg.legend(svg.MARGIN, 2, [(svg.GROUP_NAMES[group], svg.GROUPS[group]) for group in ("rust", "other")])
    tick = low
    while tick <= high:
        colour, width = (svg.INK, 1.4) if tick == 1 else (svg.LINES, 1)
        parts.append(svg.line(place(tick), top - 6, place(tick), height - 40, colour, width))
        parts.append(svg.text(place(tick), height - 23, f"{tick:g}", 11.5, svg.FAINT, "middle"))
        tick *= 2
    parts.append(svg.text(left + long, height - 6, about, 11.5, svg.FAINT, "end"))
    for number, row in enumerate(rows):
        y = top + ROW * number + ROW / 2
        colour = svg.GROUPS[row.group]
        parts.append(name_of(row.name, left - 14, y + 4))
        parts.append(svg.line(left, y, left + long, y, svg.LINES, 0.6))
        parts += [svg.dot(place(ratio), y, 4, colour, f"{row.name}, {case}: {ratio:.2f}") for case, ratio in row.ratios]
        x = place(row.middle)
        parts.append(svg.line(x, y - 9, x, y + 9, svg.INK, 3))
        parts.append(svg.text(left + long + 12, y + 4, f"× {row.middle:.2f}", 12.5, weight=600))
    return svg.picture(WIDTH, height, title, notes, parts)


def name_of(name: str, x: float, y: float) -> str:
    return svg.text(x, y, name, 12.5, anchor="end", weight=600 if name.startswith("taut") else 400)
