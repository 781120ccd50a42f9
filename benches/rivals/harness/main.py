"""The command: which parts to measure, and what becomes of the results."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from harness import broadcast, codec, deflate, echo, silent, tools
from harness.echo import GROWTH, OTHER_FILES, SCENARIOS, Scenario, Settings
from harness.machine import Failed, machine, raise_limit, say
from harness.report import publish, read, write
from harness.servers import BASE, CONTESTANTS, Contestant, Cores, build, external

PARTS = ("echo", "handshakes", "idle", "growth", "instructions", "syscalls", "deflate", "codec", "broadcast")

# Not in the plots of growth: they are to be seen beside each other elsewhere, and take minutes there.
SLOW_TO_GROW = ("ws", "tokio-tungstenite", "taut-each")

FAILED = 2


def main(about: str) -> None:
    options = parse_arguments(about)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        run(options)
    except (Failed, OSError) as error:
        print(f"rivals/run: {error}", file=sys.stderr)
        sys.exit(FAILED)


def parse_arguments(about: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benches/rivals/run",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Exit status: 0 if all was measured, 2 if something could not be. CARGO_TARGET_DIR says where to build.",
    )
    names = ", ".join(one.name for one in CONTESTANTS)
    commas = lambda text: text.split(",")
    what = parser.add_argument_group("what to measure")
    what.add_argument("--parts", type=commas, metavar="PARTS", help=f"of {','.join(PARTS)} (default: all)")
    what.add_argument("--instructions", action="store_true", help="only that: the same as --parts instructions")
    what.add_argument("--syscalls", action="store_true", help="only that: the same as --parts syscalls")
    what.add_argument("--only", type=commas, metavar="SERVERS", help=f"of {names}; and those of --server")
    what.add_argument("--without", type=commas, default=[], metavar="SERVERS", help="leave these out")
    what.add_argument(
        "--server",
        action="append",
        default=[],
        metavar="NAME='CMD {port}'",
        help="another server, or one in the place of that name; its process must be the command's own. The bars know "
        "uWebSockets, taut-mio",
    )
    what.add_argument(
        "--broadcast-server",
        action="append",
        default=[],
        metavar="NAME='CMD {port}'",
        help="the same for the part broadcast: a server that sends each message to all",
    )
    what.add_argument(
        "--scenario",
        action="append",
        type=Scenario.parse,
        metavar="SIZE,CONNECTIONS,DEPTH[,KIND]",
        help="in the place of the usual ones; KIND is binary, text or mixed",
    )
    how = parser.add_argument_group("how")
    how.add_argument("--rounds", type=int, default=7, metavar="COUNT", help="default: 7")
    how.add_argument("--seconds", type=float, default=0.5, help="of each measurement (default: 0.5)")
    how.add_argument("--idle-connections", type=int, default=5000, metavar="COUNT", help="default: 5000")
    how.add_argument("--broadcast-connections", type=int, default=10000, metavar="COUNT", help="default: 10000")
    how.add_argument("--quick", action="store_true", help="one short round of everything: whether it works")
    how.add_argument("--no-verify", action="store_true", help="do not try first whether servers echo as they should")
    how.add_argument("--no-build", action="store_true", help="take programs as they were built before")
    how.add_argument(
        "--patience",
        type=float,
        default=0,
        metavar="SECONDS",
        help="repeat measurements that other processes disturbed, for so long in all (default: 0)",
    )
    how.add_argument("--server-core", default="0", metavar="CORE", help="default: 0")
    how.add_argument("--load-core", default="1", metavar="CORE", help="default: 1")
    then = parser.add_argument_group("what to do with it")
    then.add_argument("--json", type=Path, metavar="FILE", help="write the measurements there")
    then.add_argument("--write", action="store_true", help="write tables, plots and measurements to docs/benchmarks")
    then.add_argument("--to", type=Path, metavar="FOLDER", help="the same, elsewhere")
    then.add_argument("--redraw", action="store_true", help="measure nothing: tables and plots of what is there")
    options = parser.parse_args()
    if options.instructions or options.syscalls:
        chosen = {"instructions": options.instructions, "syscalls": options.syscalls}
        options.parts = [name for name, wanted in chosen.items() if wanted]
    options.parts = options.parts or list(PARTS)
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no part is called {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if options.quick:
        options.rounds, options.seconds, options.idle_connections = 1, 0.1, 500
        options.broadcast_connections = 500
    return options


def run(options: argparse.Namespace) -> None:
    if options.redraw:
        return publish(read(options.to), options.to, write_too=True)
    begin = time.monotonic()
    session = Session(options)
    parts = {}
    for name in options.parts:
        started = time.monotonic()
        measured = session.measure(name)
        if measured is not None:
            parts[name] = {"machine": session.machine, "options": session.settings(name), **measured}
            say(f"{name}: {time.monotonic() - started:.0f} s")
    # What is not measured anew stays as it was.
    results = {**(read(options.to, missing={}) if options.write or options.to else {}), **parts}
    if options.json:
        write(results, options.json)
    publish(results, options.to, write_too=options.write or options.to is not None)
    say(f"took {time.monotonic() - begin:.0f} s")
    problems = [name for part in parts.values() for name in part.get("problems", {})]
    problems += [row["server"] for row in parts.get("deflate", {}).get("echo", []) if "problem" in row]
    if problems:
        raise Failed(f"{len(problems)} of the figures could not be had: the tables say why")


class Session:
    """Servers that are built and known to echo, and how to measure them."""

    def __init__(self, options: argparse.Namespace):
        self._options = options
        self._cores = Cores(options.server_core, options.load_core)
        self._patience = options.patience
        # At both ends of each connection, a file.
        self._files = raise_limit(max(GROWTH) + OTHER_FILES)
        contestants, self._broadcasters = chosen(options)
        plain = set(options.parts) - {"deflate", "codec", "broadcast"}
        programs = {"load": "load"} if plain else {}
        if plain:
            programs |= {Path(one.command[0]).name: one.feature for one in contestants if one.feature}
        node = plain and any(one.command[0] == "node" for one in contestants)
        self._compressed = [name for name in deflate.SERVERS if any(one.name == name for one in contestants)]
        if "deflate" in options.parts:
            programs["load-deflate"] = "load-deflate"
            programs |= {f"echo-{name}": name for name in self._compressed if name in deflate.NATIVE}
            node = node or "ws" in self._compressed
        if "broadcast" in options.parts:
            programs["load"] = "load"
            programs |= {Path(one.command[0]).name: one.feature for one in self._broadcasters if one.feature}
        if not options.no_build:
            build(programs, bool(node))
        self._left_out: dict[str, str] = {}
        if plain and not options.no_verify:
            contestants, self._left_out = silent.verify(contestants, self._cores)
        self._contestants = contestants
        self.machine = machine(bool(node))

    def measure(self, part: str) -> dict | None:
        measures: dict[str, Callable[[], dict | None]] = {
            "echo": self._echo,
            "handshakes": lambda: silent.handshakes(self._contestants, self._settings()),
            "idle": lambda: silent.idle(
                self._contestants, self._settings(3), self._options.idle_connections
            ),
            "growth": self._growth,
            "instructions": lambda: tools.instructions(
                [one for one in self._contestants if one.native],
                self._scenarios(tools.INSTRUCTIONS),
                self._cores,
            ),
            "syscalls": lambda: tools.syscalls(self._contestants, self._scenarios(echo.PLAIN), self._cores),
            "deflate": self._deflate,
            "codec": self._codec,
            "broadcast": lambda: broadcast.measure(
                self._broadcasters, self._settings(), self._options.broadcast_connections
            ),
        }
        return measures[part]()

    def settings(self, part: str) -> dict:
        """What a table has to say of how its part was measured."""
        settings = self._settings(3 if part in ("idle", "growth", "deflate") else None)
        return {
            "rounds": settings.rounds,
            "seconds": settings.seconds,
            "files": self._files,
            "left_out": self._left_out,
            "servers": {one.name: one.group for one in self._contestants},
            **({"broadcasters": {one.name: one.group for one in self._broadcasters}} if part == "broadcast" else {}),
        }

    def _settings(self, rounds: int | None = None) -> Settings:
        options = self._options
        return Settings(self._cores, min(options.rounds, rounds or options.rounds), options.seconds, options.patience)

    def _scenarios(self, usual: tuple[Scenario, ...]) -> tuple[Scenario, ...]:
        return tuple(self._options.scenario or usual)

    def _echo(self) -> dict:
        return asdict(echo.measure(self._contestants, self._scenarios(SCENARIOS), self._settings()))

    def _growth(self) -> dict:
        contestants = [one for one in self._contestants if one.name not in SLOW_TO_GROW]
        return asdict(echo.measure(contestants, echo.growth(self._files), self._settings(3), "growth"))

    def _deflate(self) -> dict:
        options = self._options
        return deflate.measure(
            deflate.Settings(
                self._cores,
                self._compressed,
                min(options.rounds, 5),
                min(options.rounds, 3),
                options.seconds,
                idle_connections=min(options.idle_connections, 1000),
                patience=options.patience,
            )
        )

    def _codec(self) -> dict | None:
        if not codec.RUN.exists():
            say("codec/run is missing: the work in memory is not measured")
            return None
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "codec.json"
            quick = ["--quick"] if self._options.quick else []
            if subprocess.run([codec.RUN, "--json", output, *quick], stdout=sys.stderr).returncode != 0:
                raise Failed("codec/run fails")
            return {"results": json.loads(output.read_text(encoding="utf-8"))}


def chosen(options: argparse.Namespace) -> tuple[list[Contestant], list[Contestant]]:
    """The servers that are asked for, the one that others are compared with first: for echoes, and for broadcasts."""
    echoes = {one.name: one for one in (*CONTESTANTS, *map(external, options.server))}
    broadcasts = {one.name: one for one in (*broadcast.CONTESTANTS, *map(external, options.broadcast_server))}
    names = {*echoes, *broadcasts}
    for name in {*(options.only or ()), *options.without} - names:
        raise Failed(f"no server is called {name}; there are {', '.join(sorted(names))}")
    more = {text.partition("=")[0] for text in (*options.server, *options.broadcast_server)}
    wanted = (set(options.only or names) | more) - set(options.without)
    found = [
        sorted((one for one in known.values() if one.name in wanted), key=lambda one: one.name != BASE)
        for known in (echoes, broadcasts)
    ]
    needed = [found[0]] * (set(options.parts) != {"broadcast"}) + [found[1]] * ("broadcast" in options.parts)
    if not all(needed):
        raise Failed("no server is left to measure")
    return found[0], found[1]
