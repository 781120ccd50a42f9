"""The bars that taut is to meet, each held against the measurements."""

from __future__ import annotations

import math
import statistics

from harness import codec
from harness.echo import MANY, PLAIN, TEXTS, Echoes, Scenario
from harness.ratio import Interval
from harness.servers import BASE, IDEAL, MIO, UWEBSOCKETS
from harness.verdict import Case, Verdict, verdict

EACH = "taut-each"
BEST = "the best Rust rival"
FORMS = ((BASE, "in the plain loop"), (EACH, "by `recv_each`"))

# Two counts of the same thing differ by so much: how many connections one wait reports is chance.
SAME = 1.05
INSTRUCTIONS = 450
IDLE = 1536
IDLE_MIO = 600
# Pages are whole, connections are not.
NO_GROWTH = 64
# What the exponent of growth may be above the bound's: caches end for everybody.
EXPONENT = 0.05
FROM_CONNECTIONS = 1000
# They leave the request to others: here to this package, which finds the key and checks nothing else.
LEAVE_HANDSHAKES = ("fastwebsockets", "yawc")


def verdicts(results: dict) -> list[Verdict]:
    echoes = echoes_of(results, "echo")
    groups = results.get("echo", {}).get("options", {}).get("servers", {})
    rust = [name for name, group in groups.items() if group == "rust"]
    everything = [*PLAIN, *TEXTS, *MANY]
    return [
        *codec.verdicts(results.get("codec")),
        *(of_form for form, told in FORMS for of_form in echo_verdicts(echoes, rust, form, told)),
        verdict(
            "the plain loop, one `send` for each `recv`",
            "≤ 1.10 × the best batched form in each",
            (worst(echoes, str(one), BASE, [EACH], 1.10) for one in everything),
        ),
        verdict(
            "the same engine on mio",
            f"≤ 1.0 × {UWEBSOCKETS} in each",
            (worst(echoes, str(one), MIO, [UWEBSOCKETS], 1.0) for one in everything),
        ),
        verdict(
            "instructions in user space for a message, (20,20,16) on tokio",
            f"≤ {INSTRUCTIONS}",
            (instructions(results, form) for form, _ in FORMS),
        ),
        verdict(
            "system calls for a message",
            f"≤ {SAME} × {IDEAL} in each",
            (syscalls(results, str(one)) for one in PLAIN),
        ),
        verdict(
            "memory of an idle connection on tokio, after 20 B and after 16 KiB",
            "≤ 1.5 KiB, and no growth with the message",
            idle(results, BASE, IDLE),
        ),
        verdict("the same on mio", f"≤ {IDLE_MIO} B", idle(results, MIO, IDLE_MIO)),
        verdict(
            "handshakes, CPU each",
            f"≤ 1.0 × {BEST} that parses and checks the request",
            [worst(handshakes(results), "handshakes", BASE, [one for one in rust if one not in LEAVE_HANDSHAKES], 1.0)],
        ),
        verdict(
            "cost as connections grow",
            f"linear: an exponent no more than {EXPONENT} above that of {IDEAL}",
            [linear(results)],
        ),
    ]


def echo_verdicts(echoes: Echoes, rust: list[str], form: str, told: str) -> list[Verdict]:
    return [
        verdict(
            f"echo on tokio {told}, CPU per message, binary and text",
            f"≤ 1.0 × {BEST} in each",
            (worst(echoes, str(one), form, rust, 1.0) for one in [*PLAIN, *TEXTS]),
        ),
        verdict(
            "the same",
            f"≤ 1.05 × {UWEBSOCKETS} or ≤ 1.05 × {IDEAL} in each",
            (either(echoes, str(one), form, (UWEBSOCKETS, IDEAL), 1.05) for one in [*PLAIN, *TEXTS]),
        ),
        verdict(
            "the same with many connections",
            f"≤ 1.05 × {IDEAL} in each",
            (worst(echoes, str(one), form, [IDEAL], 1.05) for one in MANY),
        ),
    ]


def worst(echoes: Echoes, scenario: str, one: str, others: list[str], bar: float) -> Case | None:
    """Against that of the others which is hardest to reach."""
    found = [(ratio, other) for other in others if (ratio := echoes.ratio(scenario, one, other))]
    if not found:
        return None
    ratio, other = max(found, key=lambda pair: (not pair[0].reaches(bar), pair[0].median))
    return case_of(scenario, ratio, other, bar)


def either(echoes: Echoes, scenario: str, one: str, others: tuple[str, ...], bar: float) -> Case | None:
    """Against that of the others which is easiest to reach."""
    found = [(ratio, other) for other in others if (ratio := echoes.ratio(scenario, one, other))]
    if not found:
        return None
    ratio, other = min(found, key=lambda pair: (not pair[0].reaches(bar), pair[0].median))
    return case_of(scenario, ratio, other, bar)


def case_of(scenario: str, ratio: Interval, other: str, bar: float) -> Case:
    return Case(f"`{scenario}`", ratio.reaches(bar), f"{ratio} × {other}", ratio.median)


def instructions(results: dict, form: str) -> Case | None:
    count = results.get("instructions", {}).get("counts", {}).get("20,20,16", {}).get(form)
    return count and Case(form, count <= INSTRUCTIONS, f"{count:,.0f}", count)


def syscalls(results: dict, scenario: str) -> Case | None:
    counts = results.get("syscalls", {}).get("counts", {}).get(scenario, {})
    if BASE not in counts or IDEAL not in counts:
        return None
    ours, ideal = (sum(counts[server].values()) for server in (BASE, IDEAL))
    return Case(f"`{scenario}`", ours <= SAME * ideal, f"{ours:.3f} against {ideal:.3f}", ours / ideal)


def idle(results: dict, server: str, most: int) -> list[Case]:
    by_size = results.get("idle", {}).get("bytes", {})
    sizes = sorted(by_size, key=int)
    medians = [statistics.median(by_size[size][server]) for size in sizes if server in by_size[size]]
    if len(medians) < 2:
        return []
    cases = [
        Case(f"after {int(size):,} B", value <= most, f"{value:,.0f} B", value / most)
        for size, value in zip(sizes, medians)
    ]
    if server == BASE:
        grown = medians[-1] - medians[0]
        cases.append(Case("growth with the message", grown <= NO_GROWTH, f"{grown:,.0f} B", 0))
    return cases


def linear(results: dict) -> Case | None:
    echoes = echoes_of(results, "growth")
    ours, ideal = exponent(echoes, BASE), exponent(echoes, IDEAL)
    if ours is None or ideal is None:
        return None
    return Case("", ours <= ideal + EXPONENT, f"exponent {ours:.2f}, that of {IDEAL} {ideal:.2f}", ours - ideal)


def exponent(echoes: Echoes, server: str) -> float | None:
    """The slope of the cost of a round over all connections, both as logarithms: 1 is linear."""
    points = []
    for scenario in map(Scenario.parse, echoes.samples):
        spread = echoes.interval(str(scenario), server)
        if spread and scenario.connections >= FROM_CONNECTIONS:
            points.append((math.log(scenario.connections), math.log(spread.median * scenario.connections)))
    return statistics.linear_regression(*zip(*points)).slope if len(points) > 1 else None


def echoes_of(results: dict, part: str) -> Echoes:
    found = results.get(part, {})
    return Echoes(found.get("samples", {}), found.get("problems", {}))


def handshakes(results: dict) -> Echoes:
    return Echoes({"handshakes": results.get("handshakes", {}).get("samples", {})})


