"""The figures that the library's documentation shows: each scenario of the binary echo, and what idle connections hold."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from harness.bars import echoes_of
from harness.echo import PLAIN
from harness.names import head, line, scenario_name, size_name, time_name
from harness.servers import BASE


def summary(results: dict) -> Iterator[str]:
    told = results["echo"]["machine"]
    yield from ("# Echoes on tokio, beside others", "")
    yield (
        f"{told['processor']}, {told['cores']} cores; {told['system']}; {told['date']}; rustc {told['versions']['rustc']}. "
        "CPU time of the server for each echoed message, user and system, in nanoseconds; the ratio is a median over rounds, "
        "with the interval that holds it, and below 1 taut takes less. `depth` is how many messages a connection sends before "
        "it waits for all answers."
    )
    yield ""
    yield from head(("binary messages", BASE, "the best rival in Rust", "its time", "taut over it"), 1)
    yield from echo(results)
    if "idle" in results:
        yield from ("", "# Memory of an idle connection", "")
        yield f"Bytes in memory of the server for each of {results['idle']['connections']:,} connections after one echo."
        yield ""
        yield from idle(results["idle"])


def echo(results: dict) -> Iterator[str]:
    echoes = echoes_of(results, "echo")
    rivals = [name for name, group in results["echo"]["options"]["servers"].items() if group == "rust"]
    for scenario in map(str, PLAIN):
        ours = echoes.interval(scenario, BASE)
        times = {name: time for name in rivals if (time := echoes.interval(scenario, name))}
        if ours is None or not times:
            continue
        best = min(times, key=lambda name: times[name].median)
        over = echoes.ratio(scenario, BASE, best)
        figures = (time_name(ours.median, False), best, time_name(times[best].median, False))
        yield line(scenario_name(scenario), *figures, over or "")


def idle(part: dict) -> Iterator[str]:
    groups = part["options"]["servers"]
    yield from head(("after", BASE, "the least in Rust", "its bytes", "the least of all", "its bytes"), 1)
    for size in sorted(part["bytes"], key=int):
        medians = {name: statistics.median(values) for name, values in part["bytes"][size].items() if values}
        rust = {name: value for name, value in medians.items() if groups.get(name) == "rust"}
        others = {name: value for name, value in medians.items() if groups.get(name) in ("rust", "other")}
        if BASE not in medians or not rust:
            continue
        least, of_all = min(rust, key=rust.get), min(others, key=others.get)
        yield line(
            size_name(int(size)),
            f"{medians[BASE]:,.0f}",
            least,
            f"{rust[least]:,.0f}",
            of_all,
            f"{others[of_all]:,.0f}",
        )
