"""The tables and the plot of broadcasts."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator

from harness import svg
from harness.broadcast import BURST, SIZE, STALLED_SHARE, Broadcasts
from harness.names import count_name, head, line, time_name
from harness.ratio import Interval
from harness.servers import BASE

WIDTH, ROW, NAMES, VALUES = 980, 24, 152, 66


def tables(results: dict) -> Iterator[str]:
    part = results["broadcast"]
    found = Broadcasts.of(part)
    options = part["options"]
    disturbed = [
        value for shape in found.samples for one in found.servers() for value in found.values(shape, one, "others")
    ]
    loaded = [value for one in found.servers() for value in found.values("one", one, "load_busy")]
    yield (
        f"A message of {SIZE} bytes from one connection to {found.connections:,}, itself too. Every delivery is "
        f"compared and counted: each connection got each message once and in order. {options['rounds']} rounds; median, "
        f"and the interval that holds it. Other processes took {statistics.median(disturbed):.0%} of a core in the "
        f"median, {max(disturbed):.0%} at most; the load took {statistics.median(loaded):.0%} of its core in the median."
    )
    yield from ("", "### Delivery", "")
    yield "Milliseconds from sending to the first, the middle and the last delivery of a message."
    yield ""
    yield from head(("server", "first", "median", "99 %", "last"), 1)
    for server in found.servers():
        values = (found.interval("one", server, name) for name in ("first", "median", "p99", "last"))
        yield line(server, *(milliseconds(value) for value in values))
    yield from ("", "### CPU time", "")
    yield (
        f"Nanoseconds of the server for a delivery, of one message at a time and of bursts of {BURST} that come in one "
        f"write; and {BASE}'s over that of each."
    )
    yield ""
    yield from head(("server", "one", f"{BASE} ÷", f"burst of {BURST}", f"{BASE} ÷"), 1)
    for server in found.servers():
        cells = []
        for shape in ("one", "burst"):
            cells.append(plain(found.interval(shape, server, "cpu")))
            cells.append("" if server == BASE else str(found.ratio(shape, BASE, server) or ""))
        yield line(server, *cells)
    yield from stalled_table(found)
    yield from ("", "### Memory of a connection", "")
    yield (
        "Resident bytes for each connection that is registered and silent, and after the broadcasts. What the kernel "
        "holds is not in it."
    )
    yield ""
    yield from head(("server", "registered", "after broadcasts"), 1)
    for server in found.servers():
        yield line(server, *(plain(found.interval("one", server, name)) for name in ("idle_bytes", "used_bytes")))


def stalled_table(found: Broadcasts) -> Iterator[str]:
    silent = int(found.connections * STALLED_SHARE)
    yield from ("", "### With receivers that do not read", "")
    yield (
        f"{found.connections - silent:,} connections that read, without and with {silent:,} more that do not, whose "
        "queues are full before: the 99th percentile of all deliveries to those that read, in milliseconds; within means that "
        "its median with them is no higher than one that was measured without them. CPU time is for a delivery to "
        "those that read. Lost is how many messages each of those that do not read was not sent, at least and at most."
    )
    yield ""
    yield from head(("server", "without", "with", "with ÷ without", "within", "CPU with ÷ without", "lost"), 1)
    for server in found.servers():
        lost = [found.values("stalled", server, name) for name in ("lost_least", "lost_most")]
        yield line(
            server,
            milliseconds(found.interval("calm", server, "p99")),
            milliseconds(found.interval("stalled", server, "p99")),
            found.slowed(server) or "",
            {True: "yes", False: "no", None: ""}[found.is_within(server)],
            found.slowed(server, "cpu") or "",
            f"{min(lost[0]):,.0f}–{max(lost[1]):,.0f}" if all(lost) else "",
        )


def milliseconds(value: Interval | None) -> str:
    if value is None:
        return ""
    low, median, high = (f"{one / 1e6:.3g}" for one in (value.low, value.median, value.high))
    return f"{median} ({low}–{high})"


def plain(value: Interval | None) -> str:
    if value is None:
        return ""
    return f"{value.median:,.0f} ({value.low:,.0f}–{value.high:,.0f})"


def plot(part: dict) -> str:
    found = Broadcasts.of(part)
    groups = part["options"]["broadcasters"]
    servers = found.servers()
    wide = (WIDTH - svg.MARGIN) / 2
    tall = ROW * len(servers) + 84
    present = {groups.get(server, "other") for server in servers}
    entries = [(svg.GROUP_NAMES[group], svg.GROUPS[group]) for group in svg.GROUPS if group in present]
    parts = svg.legend(svg.MARGIN, 4, entries)
    panels = (
        ("First, middle and last delivery", lambda left, top: spans(found, groups, left, top, wide - 24)),
        ("CPU time for a delivery", lambda left, top: costs(found, groups, left, top, wide - 24)),
        ("99th percentile, some do not read", lambda left, top: slowed(found, groups, left, top, wide - 24)),
        ("Memory of a registered connection", lambda left, top: memory(found, groups, left, top, wide - 24)),
    )
    for number, (title, draw) in enumerate(panels):
        left, top = svg.MARGIN + wide * (number % 2), 30 + tall * (number // 2)
        parts.append(svg.text(left, top + 18, title, 13.5, weight=600))
        parts += draw(left, top + 34)
    silent = int(found.connections * STALLED_SHARE)
    notes = [
        f"{SIZE} bytes to {found.connections:,} connections; medians, with the intervals that hold them. Further left is "
        "better everywhere.",
        f"CPU time of the server, user and system: one message at a time (dot), and in bursts of {BURST} (ring).",
        f"Those that do not read: {found.connections - silent:,} that do, alone (ring), and with {silent:,} that do not "
        "(dot).",
    ]
    return svg.picture(WIDTH, 30 + tall * 2, f"A broadcast to {found.connections:,} connections", notes, parts)


Place = Callable[[float], float]


def axis(
    found: Broadcasts, groups: dict[str, str], left: float, top: float, wide: float, ticks: list[float],
    name: Callable[[float], str], place: Place,
) -> list[str]:  # fmt: skip
    """The names of the servers, and lines that the figures are read by."""
    bottom = top + ROW * len(found.servers())
    parts = []
    for tick in ticks:
        parts.append(svg.line(place(tick), top - 4, place(tick), bottom))
        parts.append(svg.text(place(tick), bottom + 15, name(tick), 11, svg.FAINT, "middle"))
    for number, server in enumerate(found.servers()):
        weight = 600 if groups.get(server) == "ours" else 400
        y = top + ROW * number + ROW / 2
        parts.append(svg.text(left + NAMES - 10, y + 4, server, 12, anchor="end", weight=weight))
    return parts


def linear(left: float, wide: float, most: float) -> tuple[list[float], Place]:
    ticks = svg.steps(most, 4)
    return ticks, lambda value: left + NAMES + (wide - NAMES - VALUES) * value / ticks[-1]


def rows(found: Broadcasts, groups: dict[str, str], top: float) -> Iterator[tuple[float, str, str]]:
    for number, server in enumerate(found.servers()):
        yield top + ROW * number + ROW / 2, server, svg.GROUPS[groups.get(server, "other")]


def spans(found: Broadcasts, groups: dict[str, str], left: float, top: float, wide: float) -> list[str]:
    times = {
        server: [spread.median for name in ("first", "median", "last") if (spread := found.interval("one", server, name))]
        for server in found.servers()
    }
    ticks, place = linear(left, wide, max((max(values) for values in times.values() if values), default=1))
    parts = axis(found, groups, left, top, wide, ticks, milliseconds_name, place)
    for y, server, colour in rows(found, groups, top):
        if not times[server]:
            continue
        first, middle, last = times[server]
        parts.append(svg.line(place(first), y, place(last), y, colour, 3))
        for value, about in ((first, "first"), (last, "last")):
            parts.append(svg.line(place(value), y - 6, place(value), y + 6, colour, 2))
        parts.append(svg.dot(place(middle), y, 5, colour, f"{server}: middle {milliseconds_name(middle)}"))
        parts.append(svg.text(place(last) + 8, y + 4, milliseconds_name(last), 11.5))
    return parts


def costs(found: Broadcasts, groups: dict[str, str], left: float, top: float, wide: float) -> list[str]:
    return pairs(found, groups, (left, top, wide), ("burst", "cpu"), ("one", "cpu"), time_name)


def slowed(found: Broadcasts, groups: dict[str, str], left: float, top: float, wide: float) -> list[str]:
    return pairs(found, groups, (left, top, wide), ("calm", "p99"), ("stalled", "p99"), milliseconds_name)


def pairs(
    found: Broadcasts,
    groups: dict[str, str],
    area: tuple[float, float, float],
    ring: tuple[str, str],
    dot: tuple[str, str],
    name: Callable[[float], str],
) -> list[str]:
    """Two figures of each server on one line, each with its interval."""
    left, top, wide = area
    spreads = [one for server in found.servers() for what in (ring, dot) if (one := told(found, server, what))]
    most = max((spread.high for spread in spreads), default=1)
    ticks, place = linear(left, wide, most)
    parts = axis(found, groups, left, top, wide, ticks, name, place)
    for y, server, colour in rows(found, groups, top):
        ends = [(told(found, server, ring), svg.PAPER, 3.5), (told(found, server, dot), colour, -3.5)]
        for spread, fill, shift in ends:
            if spread:
                parts.append(svg.line(place(spread.low), y + shift, place(spread.high), y + shift, colour, 2))
                about = f"{server}: {name(spread.median)}"
                parts.append(svg.dot(place(spread.median), y + shift, 4.5, fill, about, colour))
        highest = max((spread.high for spread, _, _ in ends if spread), default=0)
        if ends[1][0]:
            parts.append(svg.text(place(highest) + 8, y + 4, name(ends[1][0].median), 11.5))
    return parts


def told(found: Broadcasts, server: str, what: tuple[str, str]) -> Interval | None:
    return found.interval(what[0], server, what[1])


def memory(found: Broadcasts, groups: dict[str, str], left: float, top: float, wide: float) -> list[str]:
    values = {
        server: max(1.0, spread.median)
        for server in found.servers()
        if (spread := found.interval("one", server, "idle_bytes"))
    }
    low = 64.0
    high = low * 4 ** math.ceil(math.log(max([*values.values(), low * 4]) / low, 4))
    long = wide - NAMES - VALUES
    place = lambda value: left + NAMES + long * math.log(max(value, low) / low) / math.log(high / low)
    ticks = [low * 4**power for power in range(round(math.log(high / low, 4)) + 1)]
    ticks = ticks[:: 2 if len(ticks) > 6 else 1]
    parts = axis(found, groups, left, top, wide, ticks, count_name, place)
    for y, server, colour in rows(found, groups, top):
        if server in values:
            x = place(values[server])
            parts.append(svg.line(place(low), y, x, y, colour, 3))
            parts.append(svg.dot(x, y, 5, colour, f"{server}: {values[server]:,.0f} B"))
            parts.append(svg.text(x + 9, y + 4, count_name(values[server]), 11.5))
    return parts


def milliseconds_name(nanoseconds: float) -> str:
    return f"{nanoseconds / 1e6:.3g} ms" if nanoseconds else "0"
