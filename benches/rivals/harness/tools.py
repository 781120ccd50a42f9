"""What a server does for a message, counted by tools: instructions in user space, and system calls."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from harness.echo import Scenario
from harness.machine import Failed, say
from harness.servers import Contestant, Cores, Server, load

INSTRUCTIONS = tuple(
    map(
        Scenario.parse,
        ("20,20,1", "20,20,16", "125,20,8", "1024,20,8", "1024,20,8,text", "16384,10,4"),
    )
)

# callgrind would count each byte that one string instruction writes: memset and memcpy by vectors.
COUNTED = {
    "GLIBC_TUNABLES": "glibc.cpu.x86_rep_stosb_threshold=1073741824:glibc.cpu.x86_rep_movsb_threshold=1073741824"
}

# Calls that come this seldom belong to no message.
SELDOM = 0.002

Counter = Callable[[Contestant, Scenario, Cores, int], dict[str, int]]


def instructions(contestants: list[Contestant], scenarios: tuple[Scenario, ...], cores: Cores) -> dict:
    """Instructions in user space for each message, by scenario and server."""
    counts = each(contestants, scenarios, cores, "valgrind", count_instructions)
    totals = {
        # A program that waits for a clock counts less for more messages at times: that is no figure.
        scenario: {
            server: round(found["instructions"], 1) for server, found in servers.items() if "instructions" in found
        }
        for scenario, servers in counts.items()
    }
    return {"counts": totals}


def syscalls(contestants: list[Contestant], scenarios: tuple[Scenario, ...], cores: Cores) -> dict:
    """System calls for each message, by scenario, server and name."""
    counts = each(contestants, scenarios, cores, "strace", count_syscalls)
    named = {
        scenario: {
            server: {name: round(value, 4) for name, value in sorted(found.items(), key=lambda one: -one[1])}
            for server, found in servers.items()
        }
        for scenario, servers in counts.items()
    }
    return {"counts": named}


def each(
    contestants: list[Contestant], scenarios: tuple[Scenario, ...], cores: Cores, tool: str, counter: Counter
) -> dict[str, dict[str, dict[str, float]]]:
    """What more messages take, by how many they are more."""
    if not shutil.which(tool):
        raise Failed(f"{tool} is missing: install it, or leave this part out with --parts")
    found: dict[str, dict[str, dict[str, float]]] = {}
    for scenario in scenarios:
        few = enough(scenario)
        for contestant in contestants:
            try:
                less = counter(contestant, scenario, cores, few)
                more = counter(contestant, scenario, cores, 3 * few)
            except Failed as problem:
                say(f"{tool}, {contestant.name} at {scenario}: {problem}")
                continue
            # The load sends whole bursts of all connections.
            burst = scenario.connections * scenario.depth
            messages = (-(-3 * few // burst) + few // -burst) * burst
            counts = {name: (more[name] - less.get(name, 0)) / messages for name in more}
            counts = {name: count for name, count in counts.items() if count > SELDOM}
            found.setdefault(str(scenario), {})[contestant.name] = counts
            say(f"{tool}, {contestant.name} at {scenario}: {sum(counts.values()):,.3f}")
    return found


def enough(scenario: Scenario) -> int:
    """Messages of the shorter run: of large ones a few tell as much."""
    bursts = 4 if scenario.size >= 65536 else 10
    least = 200 if scenario.size >= 65536 else 2000
    return max(least, bursts * scenario.connections * scenario.depth)


def count_instructions(contestant: Contestant, scenario: Scenario, cores: Cores, messages: int) -> dict[str, int]:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "callgrind"
        tool = ("valgrind", "--tool=callgrind", f"--callgrind-out-file={output}")
        traced(contestant, scenario, cores, messages, tool, **COUNTED)
        found = re.search(r"^(?:summary|totals): (\d+)", output.read_text(), re.MULTILINE)
        if not found:
            raise Failed("callgrind tells nothing")
        return {"instructions": int(found[1])}


def count_syscalls(contestant: Contestant, scenario: Scenario, cores: Cores, messages: int) -> dict[str, int]:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "strace"
        tool = ("strace", "-f", "-c", "-U", "name,calls", "-o", str(output))
        traced(contestant, scenario, cores, messages, tool)
        rows = (line.split() for line in output.read_text().splitlines())
        return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit() and row[0] != "total"}


def traced(
    contestant: Contestant,
    scenario: Scenario,
    cores: Cores,
    messages: int,
    tool: tuple[str, ...],
    **environment: str,
) -> None:
    """So many messages through a server under a tool."""
    with Server(contestant.command, cores.server, tool, **environment) as server:
        raw = ("--raw",) if contestant.raw else ()
        load(server, cores.load, "echo", *scenario.arguments(), "--messages", messages, *raw, pid=False)
        server.end()
