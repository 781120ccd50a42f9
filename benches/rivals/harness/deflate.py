"""permessage-deflate: CPU time and bytes of a compressed echo, memory of a connection, instructions."""

from __future__ import annotations

import re
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from harness.echo import DISTURBED
from harness.machine import HERE, PROGRAMS, Failed, say
from harness.servers import BASE, Cores, Server, load, watched
from harness.tools import COUNTED

# The servers, taut first: what the others are compared with. The level is the library's own default.
SERVERS = {"taut": 3, "yawc": 6, "sockudo-ws": 6, "ws": 6}
# Those that can be run under callgrind.
NATIVE = ("taut", "yawc", "sockudo-ws")
# Those with other settings where memory matters more than time.
LEAN = ("yawc",)

MODES = ("plain", "no-takeover", "takeover")
SIZES = (1024, 16384)
LEVELS = (1, 3, 6)
MEMORY_SIZE = 4096

# mode, window bits of the server, who: all, or taut alone.
MEMORY = (
    ("plain", 15, None),
    ("no-takeover", 15, None),
    ("no-takeover", 12, BASE),
    ("no-takeover", 9, BASE),
    ("takeover", 15, None),
    ("takeover", 12, None),
    ("takeover", 9, None),
)


@dataclass
class Settings:
    cores: Cores
    servers: list[str]
    rounds: int
    memory_rounds: int
    seconds: float
    connections: int = 32
    idle_connections: int = 1000
    patience: float = 0.0


def measure(settings: Settings) -> dict:
    bench = Bench(settings)
    return {
        "settings": {
            "connections": settings.connections,
            "seconds": settings.seconds,
            "rounds": settings.rounds,
            "idle_connections": settings.idle_connections,
            "memory_rounds": settings.memory_rounds,
            "memory_size": MEMORY_SIZE,
            "defaults": {name: SERVERS[name] for name in settings.servers},
            "base": BASE,
        },
        "echo": bench.echo(),
        "memory": bench.memory(),
        "instructions": bench.instructions(),
    }


class Bench:
    def __init__(self, settings: Settings):
        self._settings = settings
        self._patience = settings.patience

    def echo(self) -> list[dict]:
        settings = self._settings
        cells = [
            (size, mode, level) for size in SIZES for mode in MODES for level in (LEVELS if mode != "plain" else (0,))
        ]
        found: dict[tuple, list[dict]] = {}
        for number in range(settings.rounds):
            say(f"compressed echo, round {number + 1} of {settings.rounds}")
            for cell in cells:
                for name in turned(settings.servers, number):
                    found.setdefault((*cell, name), []).append(self._echo(name, *cell))
        return [
            {"size": size, "mode": mode, "level": level, "server": name, **summary(rounds)}
            for (size, mode, level, name), rounds in found.items()
        ]

    def _echo(self, name: str, size: int, mode: str, level: int) -> dict:
        """The least disturbed of some tries, while patience lasts."""
        settings = self._settings
        best = None
        while True:
            begin = time.monotonic()
            try:
                with self._server(name, mode, level, purpose="fast") as server:
                    more = ("--connections", settings.connections, "--seconds", settings.seconds)
                    got = watched(
                        server, settings.cores.load, *asked(mode, size), *more, program="load-deflate"
                    )
            except Failed as problem:
                return {"problem": str(problem)}
            if best is None or got["others"] < best["others"]:
                best = got
            if best["others"] <= DISTURBED or self._patience <= 0:
                return best
            self._patience -= time.monotonic() - begin

    def memory(self) -> list[dict]:
        settings = self._settings
        cells = []
        for mode, bits, who in MEMORY:
            for name in settings.servers:
                if who in (None, name):
                    cells.append((mode, bits, name, "defaults"))
                    if name in LEAN:
                        cells.append((mode, bits, name, "lean"))
        found: dict[tuple, list[dict]] = {}
        for number in range(settings.memory_rounds):
            say(f"memory of compressed connections, round {number + 1} of {settings.memory_rounds}")
            for cell in cells:
                found.setdefault(cell, []).append(self._memory(*cell))
        rows = []
        for (mode, bits, name, purpose), rounds in found.items():
            row = {"mode": mode, "bits": bits, "server": f"{name}, lean" if purpose == "lean" else name}
            problems = [one["problem"] for one in rounds if "problem" in one]
            if problems:
                rows.append({**row, "problem": problems[0]})
                continue
            values = [one["bytes_per_connection"] for one in rounds]
            rows.append({**row, "bytes": statistics.median(values), "least": min(values), "most": max(values)})
        return rows

    def _memory(self, mode: str, bits: int, name: str, purpose: str) -> dict:
        settings = self._settings
        more = ("--memory", "--connections", settings.idle_connections, "--bits", bits)
        try:
            with self._server(name, mode, SERVERS[name], bits, purpose) as server:
                return load(
                    server, settings.cores.load, *asked(mode, MEMORY_SIZE), *more, program="load-deflate"
                )
        except Failed as problem:
            return {"problem": str(problem)}

    def instructions(self) -> list[dict]:
        """Instructions in user space for each message of 1 KiB: what more messages take, by what they are more."""
        few, many = 400, 2400
        rows = []
        for mode in MODES:
            for level in (3, 6) if mode != "plain" else (0,):
                for name in (name for name in self._settings.servers if name in NATIVE):
                    say(f"instructions, {mode}, level {level}, {name}")
                    counts = [self._callgrind(name, mode, level, messages) for messages in (few, many)]
                    each = (counts[1] - counts[0]) / (many - few)
                    rows.append({"mode": mode, "level": level, "server": name, "instructions": round(each)})
        return rows

    def _callgrind(self, name: str, mode: str, level: int, messages: int) -> int:
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "callgrind"
            tool = ("valgrind", "--tool=callgrind", f"--callgrind-out-file={output}")
            with self._server(name, mode, level, purpose="fast", tool=tool) as server:
                more = ("--connections", 4, "--messages", messages)
                load(server, self._settings.cores.load, *asked(mode, 1024), *more, program="load-deflate")
                server.end()
            found = re.search(r"^(?:summary|totals): (\d+)", output.read_text(), re.MULTILINE)
            if not found:
                raise Failed("callgrind tells nothing")
            return int(found[1])

    def _server(
        self,
        name: str,
        mode: str,
        level: int,
        bits: int = 15,
        purpose: str = "defaults",
        tool: tuple[str, ...] = (),
    ) -> Server:
        program = ("node", str(HERE / "servers" / "ws.js"))
        if name in NATIVE:
            program = (str(PROGRAMS / f"echo-{name}"),)
        settings = {"port": "{port}", "mode": mode, "level": level, "bits": bits, "purpose": purpose}
        arguments = (part for key, value in settings.items() for part in (f"--{key}", str(value)))
        return Server((*program, *arguments), self._settings.cores.server, tool, **(COUNTED if tool else {}))


def asked(mode: str, size: int) -> tuple[object, ...]:
    return ("--mode", mode, "--size", size)


def turned(names: list[str], number: int) -> list[str]:
    """The names in another order for each round, so that nobody always comes first."""
    start = number % len(names)
    return names[start:] + names[:start]


def summary(rounds: list[dict]) -> dict:
    problems = [one["problem"] for one in rounds if "problem" in one]
    if problems:
        return {"problem": problems[0]}
    return {
        "microseconds": [one["cpu_seconds"] / one["messages"] * 1e6 for one in rounds],
        "sent": statistics.median(one["payload"] / one["plain"] for one in rounds),
        "compressed": statistics.median(one["compressed"] / one["messages"] for one in rounds),
        "messages_per_second": statistics.median(one["messages"] / one["seconds"] for one in rounds),
        "verified": min(one["verified"] for one in rounds),
        "others": [one["others"] for one in rounds],
    }
