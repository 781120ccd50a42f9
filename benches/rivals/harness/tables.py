"""The measurements as tables in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from harness.bars import LEAVE_HANDSHAKES, echoes_of, handshakes as handshakes_of, verdicts
from harness.broadcast import BURST
from harness.echo import MANY, PLAIN, TEXTS, Echoes
from harness.names import head, line, scenario_name, size_name, time_name
from harness.ratio import Interval
from harness.servers import BASE, IDEAL, UWEBSOCKETS

# Less of a difference is none.
MATTERS = 0.02
CLEARLY = 1.005
CPU_TIME = " times its CPU time"
COMPARED = ("echo", "handshakes", "idle", "instructions")


def bars(results: dict) -> Iterator[str]:
    yield (
        "Each is computed from the tables below. A ratio is the median over the rounds, with the interval that holds "
        "it; a bar is met when the interval reaches it. Where all cases meet it, the closest one is told, else those "
        "that do not."
    )
    yield ""
    yield from head(("work", "bar", "met", "how far"), 4)
    for verdict in verdicts(results):
        yield line(verdict.work, verdict.bar, verdict.met, verdict.detail)


def echo(results: dict) -> Iterator[str]:
    """Tables for the usual kinds of scenarios, and one for any others."""
    echoes = echoes_of(results, "echo")
    usual = [
        ("Binary messages", [str(one) for one in PLAIN]),
        ("Text, ASCII", [str(one) for one in TEXTS if one.kind == "text"]),
        ("Text of characters of one to four bytes", [str(one) for one in TEXTS if one.kind == "mixed"]),
        ("Many connections", [str(one) for one in MANY]),
    ]
    known = {name for _, names in usual for name in names}
    usual.append(("Others", [name for name in echoes.samples if name not in known]))
    for title, names in usual:
        names = [name for name in names if name in echoes.samples]
        if names:
            yield from (f"### {title}", "", "Nanoseconds of the server's CPU time for a message:", "")
            yield from grid(echoes, names, lambda scenario, server: cost(echoes, scenario, server))
            yield from ("", f"{BASE}'s time over that of each, with its interval; below 1, {BASE} takes less:", "")
            yield from grid(echoes, names, lambda scenario, server: ratio(echoes, scenario, server), without=BASE)
            yield ""


def throughput(results: dict) -> Iterator[str]:
    echoes = echoes_of(results, "echo")
    names = [str(one) for one in PLAIN if str(one) in echoes.samples] or list(echoes.samples)
    yield (
        "Median, and in parentheses how much of its core the load took. Where that is close to 100 %, the load is the "
        "limit, which the CPU time for a message does not depend on."
    )
    yield ""
    yield from grid(echoes, names, lambda scenario, server: rate(echoes, scenario, server))


def grid(echoes: Echoes, scenarios: list[str], cell, without: str = "") -> Iterator[str]:  # noqa: ANN001
    yield from head(("server", *(f"`{name}`" for name in scenarios)), 1)
    for server in echoes.servers():
        if server != without and any(server in echoes.samples[name] for name in scenarios):
            yield line(server, *(cell(name, server) for name in scenarios))


def cost(echoes: Echoes, scenario: str, server: str) -> str:
    if problem := echoes.problems.get(scenario, {}).get(server):
        return f"cannot: {problem}"
    spread = echoes.interval(scenario, server)
    return time_name(spread.median, unit=False) if spread else ""


def ratio(echoes: Echoes, scenario: str, server: str) -> str:
    found = echoes.ratio(scenario, BASE, server)
    return "" if found is None else str(found)


def rate(echoes: Echoes, scenario: str, server: str) -> str:
    values = echoes.values(scenario, server, "per_second")
    if not values:
        return ""
    busy = statistics.median(echoes.values(scenario, server, "load_busy"))
    return f"{statistics.median(values):,.0f} ({busy:.0%})"


def disturbances(results: dict) -> Iterator[str]:
    echoes = echoes_of(results, "echo")
    spreads, others = [], []
    for scenario, servers in echoes.samples.items():
        for server in servers:
            values = echoes.values(scenario, server)
            spreads.append((max(values) - min(values)) / 2 / statistics.median(values))
            others += echoes.values(scenario, server, "others")
    if spreads:
        options = results["echo"]["options"]
        yield (
            f"{options['rounds']} rounds of {options['seconds']:g} s. Other processes took "
            f"{statistics.median(others):.0%} of a core during the median measurement, {max(others):.0%} at most; the "
            f"rounds of a figure differ by ±{statistics.median(spreads):.0%} in the median, ±{max(spreads):.0%} at "
            "most."
        )
        coverage = next(interval_of(echoes)).coverage
        yield f"The intervals hold the true median in {coverage:.0%} of cases, whatever its distribution."
        for server, reason in options["left_out"].items():
            yield f"{server} was left out: {reason}."


def interval_of(echoes: Echoes) -> Iterator[Interval]:
    for scenario, servers in echoes.samples.items():
        for server in servers:
            if server != BASE and (found := echoes.ratio(scenario, BASE, server)):
                yield found
    yield Interval(0, 0, 0, 0)


def wins(results: dict) -> Iterator[str]:
    """A line for each place where a rival does better."""
    if not compared(results):
        return (yield "Nothing was measured.")
    found = [f"- {server}, {where}: {BASE} takes {what}." for server, where, what in better(results)]
    yield from found or ["Nowhere in this run."]


def better(results: dict) -> Iterator[tuple[str, str, str]]:
    """Where a rival does better, in which work, and what taut takes: the interval of the ratio lies above 1."""
    groups = compared(results)
    echoes = echoes_of(results, "echo")
    for scenario in echoes.samples:
        yield from faster(echoes, scenario, f"`{scenario}`", groups)
    yield from faster(handshakes_of(results), "handshakes", "handshakes", groups)
    for size, servers in results.get("idle", {}).get("bytes", {}).items():
        ours = statistics.median(servers[BASE]) if BASE in servers else 0
        for server, values in servers.items():
            if groups.get(server) in ("rust", "other") and statistics.median(values) < ours * (1 - MATTERS):
                share = ours / max(1, statistics.median(values))
                yield server, f"idle after {size_name(int(size))}", f"{share:.2f} times its memory"
    for scenario, counts in results.get("instructions", {}).get("counts", {}).items():
        for server, count in counts.items():
            if groups.get(server) in ("rust", "other") and BASE in counts and count < counts[BASE] * (1 - MATTERS):
                yield server, f"instructions, `{scenario}`", f"{counts[BASE] / count:.2f} times as many"
    if "broadcast" in results:
        broadcasts = Echoes(results["broadcast"]["samples"])
        groups = results["broadcast"]["options"]["broadcasters"]
        for shape, told in (("one", "a message"), ("burst", f"bursts of {BURST}")):
            yield from faster(broadcasts, shape, f"broadcast, {told}", groups)


def faster(samples: Echoes, scenario: str, where: str, groups: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    for server in samples.samples.get(scenario, {}):
        spread = samples.ratio(scenario, BASE, server)
        if groups.get(server) in ("rust", "other") and spread and spread.low > CLEARLY:
            yield server, where, f"{spread}{CPU_TIME}"


def compared(results: dict) -> dict[str, str]:
    """The group of each server that was measured."""
    groups: dict[str, str] = {}
    for part in COMPARED:
        groups |= results.get(part, {}).get("options", {}).get("servers", {})
    return groups


def handshakes(results: dict) -> Iterator[str]:
    samples = handshakes_of(results)
    yield (
        "Connect, upgrade and reset, 16 connections at a time: microseconds of the server's CPU time for each. "
        f"{' and '.join(LEAVE_HANDSHAKES)} leave the request to others: here, as for the bounds, a parser of the comparison "
        "finds the key, and nothing else is checked."
    )
    yield ""
    yield from head(("server", "µs", f"{BASE} over it", "handshakes/s"), 1)
    for server, rounds in samples.samples["handshakes"].items():
        spread = samples.interval("handshakes", server)
        over = "" if server == BASE else samples.ratio("handshakes", BASE, server)
        per_second = statistics.median(sample[3] for sample in rounds)
        yield line(server, f"{spread.median / 1000:.1f}", over or "", f"{per_second:,.0f}")


def idle(results: dict) -> Iterator[str]:
    part = results["idle"]
    yield (
        f"Bytes in memory of the server for each of {part['connections']:,} connections that were silent after one "
        f"echo of that size. What a server takes once, whoever comes, and what the kernel holds is not in it. Median of "
        f"{part['options']['rounds']} rounds."
    )
    yield ""
    sizes = sorted(part["bytes"], key=int)
    yield from head(("server", *(size_name(int(size)) for size in sizes)), 1)
    for server in dict.fromkeys(name for size in sizes for name in part["bytes"][size]):
        values = (part["bytes"][size].get(server) for size in sizes)
        yield line(server, *(f"{statistics.median(rounds):,.0f}" if rounds else "" for rounds in values))


def instructions(results: dict) -> Iterator[str]:
    counts = results["instructions"]["counts"]
    yield (
        "In user space for each message, counted by callgrind, which hides AVX-512 from the programs: nearly the same "
        "on every machine of this architecture, and not a measure of time. sockudo-ws measures a clock when it starts, "
        "and differs from run to run."
    )
    yield ""
    yield from table_of(counts, lambda found: f"{found:,.0f}")


def syscalls(results: dict) -> Iterator[str]:
    counts = results["syscalls"]["counts"]
    yield "For each message, counted by strace, under which servers are slower and so find more in each read."
    yield ""
    yield from table_of(counts, lambda found: f"{sum(found.values()):.3g}")
    yield ""
    yield f"Of what they are, for {BASE} and {IDEAL}:"
    yield ""
    for scenario, servers in counts.items():
        for server in (BASE, IDEAL, UWEBSOCKETS):
            if server in servers:
                named = ", ".join(f"{name} {value:.3f}" for name, value in servers[server].items())
                yield f"- `{scenario}`, {server}: {named}"


def table_of(counts: dict[str, dict], told) -> Iterator[str]:  # noqa: ANN001
    yield from head(("server", *(f"`{name}`" for name in counts)), 1)
    for server in dict.fromkeys(server for servers in counts.values() for server in servers):
        cells = (servers.get(server) for servers in counts.values())
        yield line(server, *("" if found is None else told(found) for found in cells))


def growth(results: dict) -> Iterator[str]:
    echoes = echoes_of(results, "growth")
    options = results["growth"]["options"]
    yield (
        f"Nanoseconds of the server's CPU time for each message of 20 bytes, one on its way on each connection. The "
        f"machine let a process open {options['files']:,} files."
    )
    yield ""
    names = list(echoes.samples)
    yield from head(("server", *(f"{int(name.split(',')[1]):,}" for name in names)), 1)
    for server in echoes.servers():
        yield line(server, *(cost(echoes, name, server) for name in names))


def scenario_key() -> Iterator[str]:
    yield (
        f"A scenario is bytes of a message, connections, and how many messages a connection sends in one write before "
        f"it waits for all answers: `20,200,16` is {scenario_name('20,200,16')}."
    )
