"""Pictures as SVG: what every plot draws with."""

from __future__ import annotations

import math
from xml.sax.saxutils import escape

INK, FAINT, LINES, PAPER = "#1f2328", "#59636e", "#d8dee4", "#ffffff"

# Told apart also by those who do not see red and green alike, and on paper.
GROUPS = {"ours": "#0b6fa4", "rust": "#8d99a6", "other": "#d99100", "bound": "#cfd6dd"}
GROUP_NAMES = {
    "ours": "taut",
    "rust": "rivals in Rust",
    "other": "in other languages",
    "bound": "bounds: no library",
}

# What takes the place of these where the reader's pages are dark.
DARK = {INK: "#e6edf3", FAINT: "#9aa4af", LINES: "#30363d", PAPER: "#0d1117", GROUPS["ours"]: "#3ba0d8", GROUPS["bound"]: "#4b545e"}
STYLE = "".join(f'[fill="{light}"]{{fill:{dark}}}[stroke="{light}"]{{stroke:{dark}}}' for light, dark in DARK.items())

FONT = "system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"
MARGIN = 20
HEAD = 64


def picture(width: float, height: float, title: str, notes: list[str], parts: list[str]) -> str:
    """A title, some lines below it, and what is drawn under them; `height` is without these."""
    top = top_of(notes)
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height + top:g}" width="{width:g}" '
        f'height="{height + top:g}" font-family="{FONT}">',
        f"<style>@media (prefers-color-scheme: dark){{{STYLE}}}</style>",
        f'<rect width="{width:g}" height="{height + top:g}" fill="{PAPER}"/>',
        text(MARGIN, 32, title, 19, weight=600),
        *(text(MARGIN, 54 + 18 * number, note, 12.5, FAINT) for number, note in enumerate(notes)),
    ]
    return "\n".join([*head, f'<g transform="translate(0 {top})">', *parts, "</g>", "</svg>", ""])


def top_of(notes: list[str]) -> int:
    return HEAD + 18 * max(0, len(notes) - 1)


def legend(x: float, y: float, entries: list[tuple[str, str]]) -> list[str]:
    """Squares with names, from left to right."""
    parts = []
    for name, colour in entries:
        parts.append(rect(x, y, 12, 12, colour, radius=2))
        parts.append(text(x + 18, y + 10.5, name, 12.5))
        x += 40 + text_width(name, 12.5)
    return parts


def text(
    x: float, y: float, content: str, size: float, fill: str = INK, anchor: str = "start", weight: int = 400
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{fill}" text-anchor="{anchor}" '
        f'font-weight="{weight}" paint-order="stroke" stroke="{PAPER}" stroke-width="3" stroke-linejoin="round">'
        f"{escape(content)}</text>"
    )


def text_width(content: str, size: float) -> float:
    """About how wide it will be, in whichever font the reader has."""
    return 0.54 * size * len(content)


def rect(x: float, y: float, width: float, height: float, fill: str, radius: float = 0, title: str = "") -> str:
    inner = f"<title>{escape(title)}</title>" if title else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(0, width):.1f}" height="{height:.1f}" rx="{radius:g}" '
        f'fill="{fill}">{inner}</rect>'
    )


def line(x1: float, y1: float, x2: float, y2: float, colour: str = LINES, width: float = 1, dash: str = "") -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width:g}"{dashes}/>'
    )


def dot(x: float, y: float, radius: float, fill: str, title: str = "", outline: str = PAPER) -> str:
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{fill}" stroke="{outline}" stroke-width="1">'
        f"<title>{escape(title)}</title></circle>"
    )


def path(points: list[tuple[float, float]], colour: str, width: float) -> str:
    steps = " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path d="M{steps}" fill="none" stroke="{colour}" stroke-width="{width:g}" stroke-linejoin="round"/>'


def steps(most: float, count: int = 5) -> list[float]:
    """Round numbers from zero to at least `most`, about so many."""
    step = 10 ** math.floor(math.log10(most / count)) if most > 0 else 1
    for factor in (1, 2, 5, 10):
        if most / (step * factor) <= count:
            return [step * factor * number for number in range(math.ceil(most / (step * factor)) + 1)]
    return [0, most]


def spread_out(places: list[float], gap: float) -> list[float]:
    """Places near the given ones, in the same order, no two closer than the gap."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    found = [0.0] * len(places)
    groups: list[tuple[list[int], float]] = []
    for index in order:
        groups.append(([index], places[index]))
        while len(groups) > 1 and overlap(groups[-2], groups[-1], gap):
            (upper, above), (lower, below) = groups[-2:]
            both = upper + lower
            middle = (above * len(upper) + below * len(lower)) / len(both)
            groups[-2:] = [(both, middle)]
    for members, middle in groups:
        for rank, index in enumerate(members):
            found[index] = middle + (rank - (len(members) - 1) / 2) * gap
    return found


def overlap(upper: tuple[list[int], float], lower: tuple[list[int], float], gap: float) -> bool:
    return lower[1] - upper[1] < (len(upper[0]) + len(lower[0])) / 2 * gap
