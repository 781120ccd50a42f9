"""The tables and the plot of the hub beside Socket.IO."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

from harness import svg
from harness.names import count_name, head, line
from harness.ratio import Interval, interval
from harness.report import machine, pretty

HUB, SOCKET_IO = "taut hub", "Socket.IO"
SERVERS = {HUB: "ours", SOCKET_IO: "other"}

WIDTH, ROW, NAMES, VALUES = 980, 24, 122, 66

# What is taken out of a sample.
Figure = Callable[[dict], float]


def write(results: dict, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hub.json").write_text(pretty(results) + "\n", encoding="utf-8")
    (folder / "hub.md").write_text(markdown(results), encoding="utf-8")
    (folder / "hub.svg").write_text(plot(results), encoding="utf-8")


def markdown(results: dict) -> str:
    return "\n".join(text(results)) + "\n"


def text(results: dict) -> Iterator[str]:
    options, samples = results["options"], results["samples"]
    everything = [one for server in samples.values() for one in server]
    others = [one["others"] for one in everything]
    loaded = [one["load_busy"] for sample in everything for one in (sample["entered"], *sample["spoken"])]
    late = max(one["late"] for sample in everything for one in sample["spoken"])
    yield from ("# The hub beside Socket.IO", "")
    yield from machine(results["machine"])
    yield ""
    yield (
        f"{options['connections']:,} connections, each of another user with a token of its own (HS256), are in one room, "
        f"in which one of them says {options['size']} bytes to all; `hub/compare/run{' --ahead' if options['ahead'] else ''} --write` measures it, and "
        "[README](../../hub/compare/README.md) tells how, and what the two servers do for it. "
        f"{options['rounds']} rounds; median, and the interval that holds the true one in 95 % of cases, or the whole "
        "range of fewer than six rounds. Each server has one core, and the load the other. Other processes took "
        f"{statistics.median(others):.0%} of a core in the median, {max(others):.0%} at most"
        f"{', of what servers and load, which ran before them (SCHED_RR), left' if options['ahead'] else ''}. The load took "
        f"{statistics.median(loaded):.0%} of its core in the median, {max(loaded):.0%} at most; of its messages 99 % left "
        f"within {late / 1e6:.2g} ms of when they were due."
    )
    yield from ("", "![The hub beside Socket.IO](hub.svg)", "", "## A connection", "")
    yield (
        "Resident bytes of the server for each connection that is in the room, before and after all messages, without what "
        "the kernel holds for its socket. CPU time of the server to let one in: TCP, upgrade, token, room. How long all "
        "took, 16 at a time, in seconds, with the load's share in it."
    )
    yield ""
    figures: list[tuple[str, Figure, Callable[[float], str]]] = [
        ("memory, silent", lambda one: one["idle_bytes"], count_name),
        ("memory, after", lambda one: one["used_bytes"], count_name),
        ("CPU to connect", lambda one: one["entered"]["cpu_nanoseconds"], microseconds),
        ("all connected", lambda one: one["entered"]["seconds"], lambda value: f"{value:.3g} s"),
    ]
    yield from table(samples, figures)
    for number, rate in enumerate(options["rates"]):
        yield from ("", f"## {rate:g} messages a second: {rate * options['connections']:,.0f} deliveries", "")
        if number == 0:
            yield (
                "Milliseconds from the moment at which a message was due by the schedule to each delivery: who falls "
                "behind shows it in all that it delays. Every delivery is held against the others of its message; each "
                "connection got each message once, and in order. CPU time is that of the server for a delivery, and its "
                "share of a core. A delivery has "
                + ", ".join(
                    f"{statistics.median(one['spoken'][0]['bytes'] for one in samples[server]):.0f} bytes from {server}"
                    for server in samples
                )
                + "."
            )
            yield ""
        figures = [
            ("half within", spoken(number, "median"), milliseconds),
            ("99 % within", spoken(number, "p99"), milliseconds),
            ("the last", spoken(number, "last"), milliseconds),
            ("CPU for a delivery", spoken(number, "cpu_nanoseconds"), microseconds),
            ("of a core", spoken(number, "server_busy"), lambda value: f"{value:.0%}"),
        ]
        yield from table(samples, figures)
    yield from ("", "## What is better where", "")
    yield better(results)


def table(samples: dict, figures: list[tuple[str, Figure, Callable[[float], str]]]) -> Iterator[str]:
    yield from head(("server", *(name for name, _, _ in figures)), 1)
    for server, found in samples.items():
        cells = (shown(interval([figure(one) for one in found]), name) for _, figure, name in figures)
        yield line(server, *cells)
    yield line(f"{HUB} ÷ {SOCKET_IO}", *(ratio(samples, figure) for _, figure, _ in figures))


def ratio(samples: dict, figure: Figure) -> Interval:
    """Of what was measured in the same round."""
    return interval([figure(one) / figure(other) for one, other in zip(samples[HUB], samples[SOCKET_IO])])


def better(results: dict) -> str:
    samples = results["samples"]
    figures: dict[str, Figure] = {
        "memory": lambda one: one["idle_bytes"],
        "memory after messages": lambda one: one["used_bytes"],
        "CPU time to connect": lambda one: one["entered"]["cpu_nanoseconds"],
    }
    for number, rate in enumerate(results["options"]["rates"]):
        for name, told in (("cpu_nanoseconds", "CPU time"), ("median", "median latency"), ("p99", "99th percentile")):
            figures[f"{told} at {rate:g} a second"] = spoken(number, name)
    told: dict[str, list[str]] = {f"{HUB} takes less": [], f"{SOCKET_IO} takes less": [], "Within the noise": []}
    for name, figure in figures.items():
        found = ratio(samples, figure)
        verdict = 0 if found.high < 1 else 1 if found.low > 1 else 2
        told[list(told)[verdict]].append(name)
    return " ".join(f"{verdict}: {', '.join(names)}." for verdict, names in told.items() if names)


def spoken(number: int, name: str) -> Figure:
    return lambda one: one["spoken"][number][name]


def shown(value: Interval, name: Callable[[float], str]) -> str:
    return f"{name(value.median)} ({name(value.low)}–{name(value.high)})"


def microseconds(nanoseconds: float) -> str:
    return f"{nanoseconds / 1e3:.3g} µs"


def milliseconds(nanoseconds: float) -> str:
    return f"{nanoseconds / 1e6:.3g} ms"


def plot(results: dict) -> str:
    samples, rates = results["samples"], results["options"]["rates"]
    by_rate = lambda name: [(f"{rate:g} a second", spoken(number, name)) for number, rate in enumerate(rates)]
    panels = (
        (
            "Memory of a connection",
            [("silent", lambda one: one["idle_bytes"]), ("after messages", lambda one: one["used_bytes"])],
            count_name,
        ),
        ("CPU time for a delivery", by_rate("cpu_nanoseconds"), microseconds),
        ("Half of the deliveries within", by_rate("median"), milliseconds),
        ("99 % of the deliveries within", by_rate("p99"), milliseconds),
    )
    wide = (WIDTH - svg.MARGIN) / 2
    tall = ROW * len(SERVERS) * max(2, len(rates)) + 92
    parts = svg.legend(svg.MARGIN, 4, [(name, svg.GROUPS[group]) for name, group in SERVERS.items()])
    for number, (title, figures, name) in enumerate(panels):
        left, top = svg.MARGIN + wide * (number % 2), 30 + tall * (number // 2)
        parts.append(svg.text(left, top + 18, title, 13.5, weight=600))
        parts += bars(samples, figures, name, left, top + 34, wide - 24)
    notes = [
        f"{results['options']['connections']:,} authenticated connections in one room, in which one says "
        f"{results['options']['size']} bytes; a core for each server. Shorter is better.",
        "Medians of the rounds, with the intervals that hold them; latency from the moment a message was due.",
    ]
    return svg.picture(WIDTH, 30 + tall * 2, "The hub beside Socket.IO", notes, parts)


def bars(
    samples: dict, figures: list[tuple[str, Figure]], name: Callable[[float], str], left: float, top: float, wide: float
) -> list[str]:
    rows = [
        (about, server, interval([figure(one) for one in samples[server]])) for about, figure in figures for server in samples
    ]
    # Round numbers of KiB, too.
    unit = 1024 if name is count_name else 1
    ticks = [tick * unit for tick in svg.steps(max(found.high for _, _, found in rows) / unit, 4)]
    place = lambda value: left + NAMES + (wide - NAMES - VALUES) * value / ticks[-1]
    bottom = top + ROW * len(rows)
    parts = []
    for tick in ticks:
        parts.append(svg.line(place(tick), top - 4, place(tick), bottom))
        parts.append(svg.text(place(tick), bottom + 15, name(tick) if tick else "0", 11, svg.FAINT, "middle"))
    for number, (about, server, found) in enumerate(rows):
        y = top + ROW * number
        if number % len(samples) == 0:
            parts.append(svg.text(left + NAMES - 10, y + ROW + 4, about, 12, anchor="end"))
        told = f"{server}, {about}: {shown(found, name)}"
        colour = svg.GROUPS[SERVERS[server]]
        parts.append(svg.rect(place(0), y + 4, place(found.median) - place(0), ROW - 8, colour, title=told))
        parts.append(svg.line(place(found.low), y + ROW / 2, place(found.high), y + ROW / 2, svg.INK, 1.2))
        parts.append(svg.text(place(max(found.median, found.high)) + 6, y + ROW / 2 + 4, name(found.median), 11.5))
    return parts
