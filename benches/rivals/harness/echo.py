"""Echoes: CPU time of a server for each message, in rounds over all scenarios and servers."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from harness.machine import Failed, say
from harness.ratio import Interval, interval
from harness.servers import BASE, Contestant, Cores, Server, watched

KINDS = ("binary", "text", "mixed")

# A measurement is disturbed if other processes take more than this share of one core meanwhile.
DISTURBED = 0.1

# Below, a message's cost settles at once; above, the kernel opens its windows first.
LARGE = 16384
# Seconds from an echo to the next of the same connection, for each connection that there is.
SLOW_ECHO = 15e-6

FIELDS = ("round", "place", "nanoseconds", "per_second", "server_busy", "load_busy", "user_share", "others")


@dataclass(frozen=True)
class Scenario:
    size: int
    connections: int
    depth: int
    kind: str = "binary"

    @classmethod
    def parse(cls, text: str) -> Scenario:
        size, connections, depth, *kind = text.split(",")
        if kind and kind[0] not in KINDS:
            raise ValueError(text)
        return cls(int(size), int(connections), int(depth), *kind)

    def __str__(self) -> str:
        kind = "" if self.kind == "binary" else f",{self.kind}"
        return f"{self.size},{self.connections},{self.depth}{kind}"

    def arguments(self) -> tuple[str, ...]:
        named = {"size": self.size, "connections": self.connections, "depth": self.depth, "kind": self.kind}
        return tuple(part for name, value in named.items() for part in (f"--{name}", str(value)))


PLAIN = tuple(
    map(
        Scenario.parse,
        (
            "20,1,1",
            "20,1,64",
            "20,100,1",
            "20,200,16",
            "125,100,8",
            "1024,100,8",
            "16384,50,4",
            "65536,10,4",
            "1048576,4,2",
        ),
    )
)
TEXTS = tuple(
    Scenario.parse(f"{shape},{kind}")
    for kind in ("text", "mixed")
    for shape in ("125,100,8", "1024,100,8", "16384,50,4", "1048576,4,2")
)
MANY = tuple(map(Scenario.parse, ("20,5000,1", "20,5000,8", "1024,2000,4")))
SCENARIOS = PLAIN + TEXTS + MANY

GROWTH = (10, 100, 1000, 5000, 10000, 20000)
# Files of a process that are no connections.
OTHER_FILES = 80


def growth(files: int) -> tuple[Scenario, ...]:
    """Ever more connections, as far as the files of a process go."""
    most = files - OTHER_FILES
    return tuple(Scenario(20, one, 1) for one in dict.fromkeys(min(one, most) for one in GROWTH))


@dataclass
class Settings:
    cores: Cores
    rounds: int
    seconds: float
    # Seconds that are left for repeating what was disturbed.
    patience: float = 0.0


@dataclass
class Echoes:
    """Samples by scenario and server, each with the fields of FIELDS."""

    samples: dict[str, dict[str, list[list[float]]]] = field(default_factory=dict)
    problems: dict[str, dict[str, str]] = field(default_factory=dict)

    def values(self, scenario: str, server: str, name: str = "nanoseconds") -> list[float]:
        at = FIELDS.index(name)
        return [sample[at] for sample in self.samples.get(scenario, {}).get(server, [])]

    def interval(self, scenario: str, server: str) -> Interval | None:
        values = self.values(scenario, server)
        return interval(values) if values else None

    def ratio(self, scenario: str, one: str, other: str) -> Interval | None:
        """One server's time over another's: in each round that of the two measurements that lie closest."""
        ours, theirs = self._rounds(scenario, one), self._rounds(scenario, other)
        pairs = []
        for number in sorted(ours.keys() & theirs.keys()):
            near = ((abs(a - b), mine / yours) for a, mine in ours[number] for b, yours in theirs[number])
            pairs.append(min(near)[1])
        return interval(pairs) if pairs else None

    def _rounds(self, scenario: str, server: str) -> dict[float, list[tuple[float, float]]]:
        """Place and value of each measurement, by round."""
        rounds: dict[float, list[tuple[float, float]]] = {}
        for number, place, value, *_ in self.samples.get(scenario, {}).get(server, []):
            rounds.setdefault(number, []).append((place, value))
        return rounds

    def servers(self) -> list[str]:
        return list(dict.fromkeys(server for servers in self.samples.values() for server in servers))


def measure(
    contestants: list[Contestant], scenarios: tuple[Scenario, ...], settings: Settings, name: str = "echo"
) -> Echoes:
    # In the order in which tables are to have them.
    echoes = Echoes({str(scenario): {one.name: [] for one in contestants} for scenario in scenarios})
    for number in range(settings.rounds):
        begin = time.monotonic()
        for index, scenario in enumerate(scenarios):
            order = interleaved(contestants, number * TURN + index)
            for place, contestant in enumerate(order):
                if contestant.name in echoes.problems.get(str(scenario), {}):
                    continue
                try:
                    got = patiently(contestant, scenario, settings)
                except Failed as problem:
                    say(f"{contestant.name} at {scenario}: {problem}")
                    echoes.problems.setdefault(str(scenario), {})[contestant.name] = str(problem)
                    continue
                sample = [float(number), float(place), *map(rounded, got)]
                echoes.samples[str(scenario)][contestant.name].append(sample)
            say(f"{name}, round {number + 1} of {settings.rounds}: {scenario}, {brief(echoes, str(scenario), order)}")
        say(f"{name}, round {number + 1} of {settings.rounds}: {time.monotonic() - begin:.0f} s")
    echoes.samples = {
        scenario: {server: samples for server, samples in servers.items() if samples}
        for scenario, servers in echoes.samples.items()
    }
    return echoes


def interleaved(contestants: list[Contestant], turn: int) -> list[Contestant]:
    """Another server first each time, and the one they are compared with right before or after each other one."""
    base = next((one for one in contestants if one.name == BASE), None)
    others = [one for one in contestants if one.name != BASE]
    if base is None or not others:
        return contestants
    start = turn % len(others)
    others = others[start:] + others[:start]
    order = []
    for index in range(0, len(others), 2):
        order += [others[index], base, *others[index + 1 : index + 2]]
    return order


def patiently(contestant: Contestant, scenario: Scenario, settings: Settings) -> list[float]:
    """The least disturbed of some tries, while patience lasts."""
    best: dict | None = None
    while True:
        begin = time.monotonic()
        got = once(contestant, scenario, settings)
        if best is None or got["others"] < best["others"]:
            best = got
        if best["others"] <= DISTURBED or settings.patience <= 0:
            break
        settings.patience -= time.monotonic() - begin
    return [
        best["cpu_nanoseconds"] / best["messages"],
        best["messages"] / best["seconds"],
        best["server_busy"],
        best["load_busy"],
        best["user_share"],
        best["others"],
    ]


def once(contestant: Contestant, scenario: Scenario, settings: Settings) -> dict:
    # Each connection is to have its turn a few times.
    turn = scenario.connections * SLOW_ECHO
    warm_up = max(settings.seconds * (0.6 if scenario.size >= LARGE else 0.3), 2 * turn)
    with Server(contestant.command, settings.cores.server) as server:
        more = ("--raw",) if contestant.raw else ()
        timing = ("--seconds", max(settings.seconds, 4 * turn), "--warm-up", round(warm_up, 3))
        got = watched(server, settings.cores.load, "echo", *scenario.arguments(), *timing, *more)
    if got["messages"] < 1:
        raise Failed("it answers nothing")
    return got


def brief(echoes: Echoes, scenario: str, order: list[Contestant]) -> str:
    """What was just measured, for those who wait."""
    found = []
    for contestant in dict.fromkeys(order):
        values = echoes.values(scenario, contestant.name)
        if values:
            found.append((values[-1], contestant.name))
    return ", ".join(f"{name} {value:,.0f}" for value, name in sorted(found)) + " ns"


def rounded(value: float) -> float:
    """Five digits are more than any of these figures has."""
    return float(f"{value:.5g}")


# How far a round turns the order of servers; coprime to most numbers of them.
TURN = 5
