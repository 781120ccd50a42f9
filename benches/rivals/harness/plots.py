"""The plots of the comparison."""

from __future__ import annotations

import math
import statistics

from harness import svg
from harness.echo import Echoes
from harness.servers import BASE, FLOOR, IDEAL
from harness.names import count_name, scenario_name, size_name, time_name

WIDTH = 980

BAR, BAR_GAP = 13, 5
PANEL_TOP, PANEL_BOTTOM = 34, 40
NAMES, VALUES = 142, 56
# Bars longer than so many times the bound's are cut.
CUT = 4.0

ROW = 26


def bars(echoes: Echoes, groups: dict[str, str], scenarios: list[str], title: str, about: str) -> str:
    """A panel for each scenario, three in a row: a bar for each server, the fastest first."""
    columns = 2 if len(scenarios) in (2, 4) else 3
    wide = (WIDTH - svg.MARGIN) / columns
    parts = legend_of(echoes.servers(), groups)
    y = 30.0
    for number in range(0, len(scenarios), columns):
        row = scenarios[number : number + columns]
        for column, scenario in enumerate(row):
            parts += panel(svg.MARGIN + column * wide, y, wide - 16, echoes, groups, scenario)
        y += max(len(echoes.samples[scenario]) for scenario in row) * (BAR + BAR_GAP) + PANEL_TOP + PANEL_BOTTOM
    return svg.picture(WIDTH, y, title, [about], parts)


def panel(
    left: float, top: float, wide: float, echoes: Echoes, groups: dict[str, str], scenario: str
) -> list[str]:
    found = [(echoes.interval(scenario, server), server) for server in echoes.samples[scenario]]
    rows = sorted(((one.median, one, server) for one, server in found if one), key=lambda row: row[0])
    medians = {server: median for median, _, server in rows}
    cut = CUT * medians.get(IDEAL, medians.get(BASE, rows[0][0]))
    most = min(rows[-1][0], max([cut, *(medians[name] * 1.1 for name in medians if groups.get(name) == "ours")]))
    long = wide - NAMES - VALUES
    ticks = [tick for tick in svg.steps(most, 4) if tick <= most * 1.001]
    bottom = top + PANEL_TOP + len(rows) * (BAR + BAR_GAP)
    parts = [svg.text(left, top + 18, scenario_name(scenario), 13.5, weight=600)]
    for tick in ticks:
        x = left + NAMES + long * tick / most
        parts.append(svg.line(x, top + PANEL_TOP - 6, x, bottom))
        parts.append(svg.text(x, bottom + 15, time_name(tick), 11, svg.FAINT, "middle"))
    y = top + PANEL_TOP
    for median, spread, server in rows:
        group = groups.get(server, "other")
        length = long * min(median, most) / most
        parts.append(
            svg.text(left + NAMES - 7, y + BAR - 2.5, server, 12, anchor="end", weight=600 if group == "ours" else 400)
        )
        told = f"{server}: {median:,.0f} ns ({spread.low:,.0f} to {spread.high:,.0f})"
        parts.append(svg.rect(left + NAMES, y, length, BAR, svg.GROUPS[group], title=told))
        if median > most:
            parts += broken(left + NAMES + length - 14, y)
        elif spread.high > spread.low:
            ends = [left + NAMES + long * min(end, most) / most for end in (spread.low, spread.high)]
            parts.append(svg.line(ends[0], y + BAR / 2, ends[1], y + BAR / 2, svg.INK, 1.2))
        end = left + NAMES + max(length, long * min(spread.high, most) / most)
        parts.append(svg.text(end + 5, y + BAR - 2.5, time_name(median), 11.5))
        y += BAR + BAR_GAP
    parts.append(svg.line(left + NAMES, top + PANEL_TOP - 6, left + NAMES, bottom, svg.FAINT))
    return parts


def broken(x: float, y: float) -> list[str]:
    """Two slanted cuts through a bar that is longer than its panel."""
    return [svg.line(x + shift, y + BAR + 1, x + shift + 5, y - 1, svg.PAPER, 2.5) for shift in (0, 5)]


def legend_of(servers: list[str], groups: dict[str, str]) -> list[str]:
    there = {groups.get(server, "other") for server in servers}
    entries = [(svg.GROUP_NAMES[group], svg.GROUPS[group]) for group in svg.GROUPS if group in there]
    return svg.legend(svg.MARGIN, 4, entries)


def overview(echoes: Echoes, groups: dict[str, str]) -> str:
    """A line for each scenario: how many times the bound's time everybody takes."""
    scenarios = [one for one in echoes.samples if echoes.values(one, IDEAL)]
    left, right = 300, 58
    long = WIDTH - left - right
    low, high = 0.8, 16.0
    place = lambda ratio: left + long * math.log(min(max(ratio, low), high) / low) / math.log(high / low)
    height = 44 + ROW * len(scenarios) + 46
    parts = legend_of([one for one in echoes.servers() if one not in (IDEAL, FLOOR)], groups)
    for ratio in (0.8, 1, 1.25, 1.5, 2, 3, 4, 6, 8, 12, 16):
        colour, width = (svg.INK, 1.4) if ratio == 1 else (svg.LINES, 1)
        parts.append(svg.line(place(ratio), 32, place(ratio), height - 44, colour, width))
        parts.append(svg.text(place(ratio), height - 27, f"{ratio:g}", 11.5, svg.FAINT, "middle"))
    parts.append(svg.text(left + long, height - 9, f"times the CPU time of {IDEAL}", 11.5, svg.FAINT, "end"))
    for number, scenario in enumerate(scenarios):
        y = 44 + ROW * number + ROW / 2
        parts.append(svg.text(left - 16, y + 4, scenario_name(scenario), 12.5, anchor="end"))
        parts.append(svg.line(left, y, left + long, y, svg.LINES, 0.6))
        ratios = {
            server: found
            for server in echoes.samples[scenario]
            if server not in (IDEAL, FLOOR) and (found := echoes.ratio(scenario, server, IDEAL))
        }
        rivals = [server for server in ratios if groups.get(server) == "rust"]
        best = min(rivals, key=lambda server: ratios[server].median, default="")
        # Ours last, above the others.
        order = {"other": 0, "rust": 1, "ours": 2}
        for server in sorted(ratios, key=lambda one: (order.get(groups.get(one, "other"), 0), one == best)):
            ratio, group = ratios[server], groups.get(server, "other")
            colour = svg.FAINT if server == best else svg.GROUPS[group]
            x = place(ratio.median)
            if server == BASE:
                parts.append(svg.line(place(ratio.low), y, place(ratio.high), y, colour, 3))
            parts.append(svg.dot(x, y, 6 if server == BASE else 4.4, colour, f"{server}: {ratio}"))
        beyond = sorted(ratio.median for ratio in ratios.values() if ratio.median > high)
        if beyond:
            told = f"{beyond[0]:.0f}–{beyond[-1]:.0f}" if len(beyond) > 1 else f"{beyond[0]:.0f}"
            parts.append(svg.text(left + long + 9, y + 4, told, 11, svg.FAINT))
    notes = [
        f"CPU time for each echoed message (user and system), against {IDEAL}, the bare frame echo on the same "
        "runtime: further left is better.",
        f"The large dot is {BASE} in its plain loop, with its interval; each other dot is a server, the dark one the "
        "best rival in Rust.",
        "Figures at the right belong to those beyond the axis.",
    ]
    return svg.picture(WIDTH, height, "What each library adds to a bare echo", notes, parts)


def idle(part: dict, groups: dict[str, str]) -> str:
    """Memory after a small message and after a large one, for each server."""
    small, large = sorted(part["bytes"], key=int)[:2]
    values = {
        server: (statistics.median(rounds), statistics.median(part["bytes"][large][server]))
        for server, rounds in part["bytes"][small].items()
        if server in part["bytes"][large]
    }
    rows = sorted(values.items(), key=lambda row: row[1][1])
    left, right, top = 170, 150, 34
    long = WIDTH - left - right
    low, high = 64.0, 2.0 ** math.ceil(math.log2(max(max(pair) for pair in values.values())))
    place = lambda value: left + long * math.log(max(value, low) / low) / math.log(high / low)
    height = top + ROW * len(rows) + 40
    parts = legend_of(list(values), groups)
    tick = low
    while tick <= high:
        parts.append(svg.line(place(tick), top - 4, place(tick), height - 38))
        parts.append(svg.text(place(tick), height - 20, count_name(tick), 11.5, svg.FAINT, "middle"))
        tick *= 4
    for number, (server, (first, second)) in enumerate(rows):
        y = top + ROW * number + ROW / 2
        group = groups.get(server, "other")
        colour = svg.GROUPS[group]
        weight = 600 if group == "ours" else 400
        parts.append(svg.text(left - 14, y + 4, server, 12.5, anchor="end", weight=weight))
        parts.append(svg.line(place(first), y, place(second), y, colour, 3))
        parts.append(svg.dot(place(first), y, 5.5, svg.PAPER, f"{first:,.0f} B after {small} B", colour))
        parts.append(svg.dot(place(second), y, 5.5, colour, f"{second:,.0f} B after {large} B"))
        told = count_name(first)
        if abs(second - first) >= 0.05 * first:
            told += f" → {count_name(second)}"
        parts.append(svg.text(place(max(first, second)) + 12, y + 4, told, 12))
    notes = [
        f"Resident bytes of the server for each of {part['connections']:,} connections, after one echo of "
        f"{size_name(int(small))} (ring) and of {size_name(int(large))} (dot); logarithmic."
    ]
    return svg.picture(WIDTH, height, "Memory of an idle connection", notes, parts)


def growth(echoes: Echoes, groups: dict[str, str]) -> str:
    """CPU time for each message against the number of connections."""
    servers = [one for one in echoes.servers() if groups.get(one) != "other" or one == "uWebSockets"]
    lines: dict[str, list[tuple[int, float]]] = {}
    for scenario in echoes.samples:
        connections = int(scenario.split(",")[1])
        for server in servers:
            if spread := echoes.interval(scenario, server):
                lines.setdefault(server, []).append((connections, spread.median))
    if not lines:
        return svg.picture(WIDTH, 40, "Cost as connections grow", ["Nothing was measured."], [])
    left, right, top, tall = 74, 190, 20, 360
    long = WIDTH - left - right
    counts = sorted({count for points in lines.values() for count, _ in points})
    most = max(value for points in lines.values() for _, value in points)
    ticks = svg.steps(most, 6)
    across = lambda count: left + long * math.log(count / counts[0]) / max(1e-9, math.log(counts[-1] / counts[0]))
    down = lambda value: top + tall * (1 - value / ticks[-1])
    parts = []
    for tick in ticks:
        parts.append(svg.line(left, down(tick), left + long, down(tick)))
        parts.append(svg.text(left - 8, down(tick) + 4, time_name(tick), 11.5, svg.FAINT, "end"))
    for count in counts:
        parts.append(svg.line(across(count), top + tall, across(count), top + tall + 5, svg.FAINT))
        parts.append(svg.text(across(count), top + tall + 19, f"{count:,}", 11.5, svg.FAINT, "middle"))
    parts.append(svg.text(left + long / 2, top + tall + 40, "connections", 12, svg.FAINT, "middle"))
    ours = [one for one in lines if groups.get(one) == "ours"]
    colours = {one: svg.GROUPS[groups.get(one, "other")] for one in lines} | {IDEAL: svg.INK, FLOOR: svg.FAINT}
    labels = svg.spread_out([down(points[-1][1]) for points in lines.values()], 16)
    # Ours last, above the others.
    order = sorted(zip(lines.items(), labels), key=lambda one: (one[0][0] in ours, one[0][0] == IDEAL))
    for (server, points), label in order:
        places = [(across(count), down(value)) for count, value in points]
        parts.append(svg.path(places, colours[server], 3 if server in ours else 1.4))
        parts += [
            svg.dot(x, y, 3.2, colours[server], f"{server}: {value:,.0f} ns at {count:,}")
            for (x, y), (count, value) in zip(places, points)
        ]
        end = left + long
        parts.append(svg.line(places[-1][0] + 4, places[-1][1], end + 16, label, colours[server], 0.8))
        parts.append(svg.text(end + 20, label + 4, server, 12, colours[server], weight=600 if server in ours else 400))
    parts.append(svg.line(left, top + tall, left + long, top + tall, svg.FAINT))
    notes = [
        "CPU time of the server for each message of 20 bytes, one on its way on each connection: a level line is a "
        "cost that is linear in connections."
    ]
    return svg.picture(WIDTH, top + tall + 56, "Cost as connections grow", notes, parts)
