"""Broadcasts: one message to thousands of connections, also while some of them do not read."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field

from harness.echo import DISTURBED, Echoes, Settings, interleaved, rounded
from harness.machine import PROGRAMS, Failed, say
from harness.ratio import Interval, interval
from harness.servers import BASE, FLOOR, Contestant, Server, watched

SIZE = 100
STALLED_SHARE = 0.1
BURST = 16

# What is measured right after each other stands together.
SHAPES = (("one",), ("burst",), ("calm", "stalled"))

# Times in nanoseconds. `cpu` is that of the server for a delivery to who reads.
FIELDS = (
    "round",
    "place",
    "cpu",
    "first",
    "median",
    "p99",
    "last",
    "deliveries",
    "server_busy",
    "load_busy",
    "user_share",
    "idle_bytes",
    "used_bytes",
    "lost_least",
    "lost_most",
    "others",
)


def own(name: str, group: str, program: str, feature: str, *flags: str) -> Contestant:
    return Contestant(name, group, (str(PROGRAMS / program), "--port", "{port}", *flags), feature)


TUNGSTENITE = "broadcast-tokio-tungstenite"
CONTESTANTS = (
    own(BASE, "ours", "broadcast-taut", "broadcast-taut"),
    own("tokio-tungstenite", "rust", TUNGSTENITE, TUNGSTENITE),
    own("tokio-tungstenite-lean", "rust", TUNGSTENITE, TUNGSTENITE, "--purpose", "lean"),
    own(FLOOR, "bound", "broadcast-floor", "broadcast-bound"),
)


@dataclass
class Broadcasts:
    """Samples by shape and server, each with the fields of FIELDS."""

    connections: int
    samples: dict[str, dict[str, list[list[float]]]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, part: dict) -> Broadcasts:
        return cls(part["connections"], part["samples"], part["problems"])

    def servers(self) -> list[str]:
        return list(dict.fromkeys(server for servers in self.samples.values() for server in servers))

    def values(self, shape: str, server: str, name: str) -> list[float]:
        at = FIELDS.index(name)
        return [sample[at] for sample in self.samples.get(shape, {}).get(server, [])]

    def interval(self, shape: str, server: str, name: str) -> Interval | None:
        values = self.values(shape, server, name)
        return interval(values) if values else None

    def ratio(self, shape: str, one: str, other: str) -> Interval | None:
        """One server's CPU time over another's, as for echoes."""
        return Echoes(self.samples).ratio(shape, one, other)

    def slowed(self, server: str, name: str = "p99") -> Interval | None:
        """What those that do not read change for the others, in each round."""
        calm, stalled = (self._by_round(shape, server, name) for shape in ("calm", "stalled"))
        pairs = [stalled[number] / calm[number] for number in sorted(calm.keys() & stalled.keys())]
        return interval(pairs) if pairs else None

    def is_within(self, server: str) -> bool | None:
        """Whether the 99th percentile with those that do not read is one that was seen without them."""
        calm, stalled = self.values("calm", server, "p99"), self.interval("stalled", server, "p99")
        return stalled.median <= max(calm) if calm and stalled else None

    def _by_round(self, shape: str, server: str, name: str) -> dict[float, float]:
        return dict(zip(self.values(shape, server, "round"), self.values(shape, server, name)))


def measure(contestants: list[Contestant], settings: Settings, connections: int) -> dict:
    names = [name for together in SHAPES for name in together]
    found = Broadcasts(connections, {name: {one.name: [] for one in contestants} for name in names})
    for number in range(settings.rounds):
        for index, together in enumerate(SHAPES):
            for place, contestant in enumerate(interleaved(contestants, number * len(SHAPES) + index)):
                if contestant.name in found.problems:
                    continue
                try:
                    # Another one first each time.
                    for shape in together[:: 1 if (number + place) % 2 else -1]:
                        got = patiently(contestant, shape, settings, connections)
                        sample = [float(number), float(place), *(rounded(got[name]) for name in FIELDS[2:])]
                        found.samples[shape].setdefault(contestant.name, []).append(sample)
                except Failed as problem:
                    say(f"{contestant.name}, {shape}: {problem}")
                    found.problems[contestant.name] = f"{shape}: {problem}"
            told = "; ".join(brief(found, shape) for shape in together)
            say(f"broadcast, round {number + 1} of {settings.rounds}: {told}")
    found.samples = {
        shape: {server: samples for server, samples in servers.items() if samples}
        for shape, servers in found.samples.items()
    }
    return asdict(found)


def patiently(contestant: Contestant, shape: str, settings: Settings, connections: int) -> dict:
    """The least disturbed of some tries, while patience lasts."""
    best: dict | None = None
    while True:
        begin = time.monotonic()
        got = once(contestant, shape, settings, connections)
        if best is None or got["others"] < best["others"]:
            best = got
        if best["others"] <= DISTURBED or settings.patience <= 0:
            return best
        settings.patience -= time.monotonic() - begin


def once(contestant: Contestant, shape: str, settings: Settings, connections: int) -> dict:
    stalled = int(connections * STALLED_SHARE) if shape in ("calm", "stalled") else 0
    depth = BURST if shape == "burst" else 1
    # Each second has about so many.
    messages = max(5, round(settings.seconds * 40)) * (8 if depth > 1 else 1)
    arguments = {
        "--size": SIZE,
        "--connections": connections - stalled,
        "--stalled": stalled if shape == "stalled" else 0,
        "--depth": depth,
        "--messages": messages,
    }
    with Server(contestant.command, settings.cores.server) as server:
        flat = (part for pair in arguments.items() for part in pair)
        got = watched(server, settings.cores.load, "broadcast", *flat)
    got["cpu"] = got["cpu_nanoseconds"]
    return got


def brief(found: Broadcasts, shape: str) -> str:
    """What was just measured, for those who wait."""
    told = sorted((found.values(shape, server, "cpu")[-1:], server) for server in found.servers())
    return f"{shape}, " + ", ".join(f"{server} {cpu[0]:,.0f}" for cpu, server in told if cpu) + " ns"
