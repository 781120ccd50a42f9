"""The measurements as SVG: everybody beside the best rival, case by case, and growth."""

from __future__ import annotations

import math
import statistics

from harness import codec, svg
from harness.names import size_name
from harness.ratio import interval
from report import OURS, UNITS, fastest, middle, place_name, rivals_in

WIDTH = 980
ROW, BLOCK = 20, 40
LEFT, RIGHT = 110, 30
LOW, HIGH = 0.05, 16.0
TICKS = (0.05, 0.1, 0.2, 0.35, 0.5, 1, 2, 4, 8, 16)

PANEL, PANEL_LEFT = 230, 62
# The forms of taut that a plot tells apart; one that is not here is not drawn.
FORMS = {"taut, borrowed": svg.GROUPS["ours"], "taut, owned": "#4aa3d0"}
KERNELS = {"taut": svg.GROUPS["ours"], "taut, Validator": svg.GROUPS["ours"]}
GROWTH = {**FORMS, codec.SHARED: "#9fd0e8"}

TITLES = {
    "messages": ("Messages in memory", ("receive", "send")),
    "kernels": ("Masks and UTF-8 alone, aligned buffers", ("mask", "utf8")),
}


def draw(results: dict) -> dict[str, str]:
    """All plots for which there are measurements, by name."""
    rows = results["rows"]
    found = {name: beside(rows, title, works) for name, (title, works) in TITLES.items()}
    found["growth"] = growth([row for row in rows if row["work"] == "growth" and row["nanoseconds"]])
    return {name: picture for name, picture in found.items() if picture}


def beside(rows: list[dict], title: str, works: tuple[str, ...]) -> str:
    """A line for each case: how many times the best rival's time everybody takes."""
    cases = {case: found for work in works for case, found in codec.cases(rows, work).items() if not case[4]}
    cases = {case: found for case, found in cases.items() if rivals_in(found)}
    if not cases:
        return ""
    there = {who for found in cases.values() for who in found}
    parts = legend({who: colour for who, colour in {**FORMS, **KERNELS}.items() if who in there})
    y = 30.0
    for block in dict.fromkeys(case[:3] for case in cases):
        here = {case: found for case, found in cases.items() if case[:3] == block}
        parts.append(svg.text(svg.MARGIN, y + 22, ", ".join(word for word in block if word), 13.5, weight=600))
        y += BLOCK
        bottom = y + ROW * len(here)
        for tick in TICKS:
            parts.append(svg.line(place(tick), y - 6, place(tick), bottom, svg.INK if tick == 1 else svg.LINES))
            parts.append(svg.text(place(tick), bottom + 14, f"{tick:g}", 11, svg.FAINT, "middle"))
        for case, found in here.items():
            parts += dots(y + ROW / 2, case[3], found)
            y += ROW
        y += 22
    note = "Times the time of the fastest rival, less is better; lines through dots are intervals of the ratio."
    return svg.picture(WIDTH, y + 10, title, [note], parts)


def dots(y: float, size: int, found: dict[str, list[float]]) -> list[str]:
    best = fastest(found, rivals_in(found))
    parts = [svg.text(LEFT - 12, y + 4, size_name(size), 12, anchor="end")]
    ours = {**FORMS, **KERNELS}
    for who in sorted(found, key=rank):
        if group(who) == "ours" and who not in ours:
            continue
        ratio = interval([one / other for one, other in zip(found[who], found[best])])
        colour = ours.get(who, svg.GROUPS[group(who)])
        if who in ours:
            parts.append(svg.line(place(ratio.low), y, place(ratio.high), y, colour, 2.5))
        parts.append(svg.dot(place(ratio.median), y, 4.6, colour, f"{who}: {ratio}, {middle(found, who):.4g} ns"))
    return parts


def place(ratio: float) -> float:
    share = math.log(min(max(ratio, LOW), HIGH) / LOW) / math.log(HIGH / LOW)
    return LEFT + (WIDTH - LEFT - RIGHT) * share


def group(who: str) -> str:
    return "ours" if who.startswith("taut") else "bound" if who.startswith(OURS) else "rust"


def rank(who: str) -> int:
    """Ours last, above the others."""
    return ("bound", "rust", "ours").index(group(who))


def legend(ours: dict[str, str]) -> list[str]:
    return svg.legend(svg.MARGIN, 4, [*ours.items(), ("rivals", svg.GROUPS["rust"]), ("bounds", svg.GROUPS["bound"])])


def growth(rows: list[dict]) -> str:
    """A panel for each series: what a unit costs as they become more. A level line is linear cost."""
    if not rows:
        return ""
    series = list(dict.fromkeys(row["series"] for row in rows))
    parts = legend(GROWTH)
    wide = (WIDTH - svg.MARGIN) / 2
    for number, name in enumerate(series):
        left, top = svg.MARGIN + wide * (number % 2), 30 + (PANEL + 70) * (number // 2)
        parts += panel(left, top, wide - 20, name, [row for row in rows if row["series"] == name])
    height = 30 + (PANEL + 70) * math.ceil(len(series) / 2)
    note = "Nanoseconds for each unit, both axes logarithmic: where a line is level, the cost is linear."
    return svg.picture(WIDTH, height, "Growth of the cost of receiving, in memory", [note], parts)


def panel(left: float, top: float, wide: float, name: str, rows: list[dict]) -> list[str]:
    points: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        points.setdefault(row["who"], []).append((row["place"], statistics.median(row["nanoseconds"]) / row["place"]))
    places = sorted({row["place"] for row in rows})
    values = [value for line in points.values() for _, value in line]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    long = wide - PANEL_LEFT
    x = lambda at: left + PANEL_LEFT + long * math.log(at / places[0]) / max(1e-9, math.log(places[-1] / places[0]))
    y = lambda value: top + 34 + PANEL * (high - math.log10(value)) / max(1, high - low)
    parts = [svg.text(left, top + 18, f"{name}: ns for each {UNITS[name]}", 13.5, weight=600)]
    for power in range(low, high + 1):
        parts.append(svg.line(left + PANEL_LEFT, y(10**power), left + wide, y(10**power)))
        parts.append(svg.text(left + PANEL_LEFT - 8, y(10**power) + 4, f"{10.0**power:g}", 11, svg.FAINT, "end"))
    for at in places[::2]:
        parts.append(svg.text(x(at), top + 34 + PANEL + 17, place_name(at), 11, svg.FAINT, "middle"))
    for who in sorted(points, key=rank):
        if group(who) == "ours" and who not in GROWTH:
            continue
        colour = GROWTH.get(who, svg.GROUPS[group(who)])
        line = sorted(points[who])
        parts.append(svg.path([(x(at), y(value)) for at, value in line], colour, 2.4 if who in GROWTH else 1.2))
        parts += [svg.dot(x(at), y(value), 2.6, colour, f"{who}: {value:.3g} ns") for at, value in line]
    return parts
