"""Handshakes, and the memory of connections that say nothing; and whether a server echoes at all."""

from __future__ import annotations

from harness.echo import Settings, interleaved, rounded
from harness.machine import Failed, say
from harness.servers import Contestant, Cores, Server, load

IDLE_SIZES = (20, 16384)


def verify(contestants: list[Contestant], cores: Cores) -> tuple[list[Contestant], dict[str, str]]:
    """Those that echo whatever comes, however it is cut; and what is wrong with the others."""
    good, bad = [], {}
    for contestant in contestants:
        try:
            with Server(contestant.command, cores.server) as server:
                flags = [name for name in ("raw", "whole") if getattr(contestant, name)]
                got = load(server, cores.load, "verify", *(f"--{name}" for name in flags), pid=False)
            say(f"{contestant.name} echoes {got['verified']:,} messages as it should")
            good.append(contestant)
        except Failed as problem:
            say(f"{contestant.name} is left out: {problem}")
            bad[contestant.name] = str(problem)
    return good, bad


def handshakes(contestants: list[Contestant], settings: Settings) -> dict:
    """Samples of each server: round, place, nanoseconds of its time for a handshake, handshakes a second."""
    samples: dict[str, list[list[float]]] = {one.name: [] for one in contestants}
    problems: dict[str, str] = {}
    for number in range(settings.rounds):
        say(f"handshakes, round {number + 1} of {settings.rounds}")
        for place, contestant in enumerate(interleaved(contestants, number)):
            if contestant.name in problems:
                continue
            try:
                with Server(contestant.command, settings.cores.server) as server:
                    got = load(server, settings.cores.load, "handshakes", "--seconds", settings.seconds)
                each = got["cpu_nanoseconds"] / got["handshakes"]
                sample = [number, place, rounded(each), rounded(got["handshakes"] / got["seconds"])]
                samples[contestant.name].append(sample)
            except Failed as problem:
                problems[contestant.name] = str(problem)
    return {"samples": {server: rounds for server, rounds in samples.items() if rounds}, "problems": problems}


def idle(contestants: list[Contestant], settings: Settings, connections: int) -> dict:
    """Bytes in memory for each connection after one echo, by size and server, for each round."""
    bytes_each: dict[str, dict[str, list[float]]] = {}
    problems: dict[str, str] = {}
    for number in range(settings.rounds):
        say(f"idle connections, round {number + 1} of {settings.rounds}")
        for size in IDLE_SIZES:
            for contestant in contestants:
                try:
                    with Server(contestant.command, settings.cores.server) as server:
                        raw = ("--raw",) if contestant.raw else ()
                        arguments = ("--size", size, "--connections", connections, *raw)
                        got = load(server, settings.cores.load, "idle", *arguments)
                    of_size = bytes_each.setdefault(str(size), {})
                    of_size.setdefault(contestant.name, []).append(got["bytes_per_connection"])
                except Failed as problem:
                    problems[contestant.name] = str(problem)
    return {"connections": connections, "bytes": bytes_each, "problems": problems}
