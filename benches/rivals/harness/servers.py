"""The servers: how each is built, started and ended, and the load that is sent to one."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from harness.machine import HERE, MODULES, PROGRAMS, TARGET, Failed, busy, say

BASE = "taut"
IDEAL = "ideal-tokio"
FLOOR = "floor-tokio"
MIO = "taut-mio"
UWEBSOCKETS = "uWebSockets"

# What is installed for node, and where that finds it.
NPM = TARGET / "npm"
NODE_PATH = str(NPM / "node_modules")

# Below the ports that Linux gives to those who connect.
PORTS = range(20000, 30000)
START_SECONDS = 20.0
LOAD_SECONDS = 300.0


@dataclass(frozen=True)
class Contestant:
    """A server of the comparison. `{port}` in its command is replaced."""

    name: str
    # ours, rust: a rival in Rust, bound: no library, other: another language, or a command line.
    group: str
    command: tuple[str, ...]
    # What it is built by.
    feature: str = ""
    # It sends back the very bytes.
    raw: bool = False
    # It does not put fragments together.
    whole: bool = False

    @property
    def native(self) -> bool:
        return self.feature != "" or self.group == "other" and self.command[0] != "node"


def own(name: str, group: str, feature: str, *flags: str, program: str = "", **more: bool) -> Contestant:
    program = str(PROGRAMS / f"echo-{program or feature}")
    return Contestant(name, group, (program, "--port", "{port}", *flags), feature, **more)


# Taut first: what the others are compared with.
CONTESTANTS = (
    own(BASE, "ours", "taut", "--plain"),
    own("taut-each", "ours", "taut", "--each"),
    own("tokio-tungstenite", "rust", "tokio-tungstenite"),
    own("tokio-tungstenite-lean", "rust", "tokio-tungstenite", "--purpose", "lean"),
    own("tokio-websockets", "rust", "tokio-websockets"),
    own("fastwebsockets", "rust", "fastwebsockets"),
    own("soketto", "rust", "soketto"),
    own("wtx", "rust", "wtx"),
    own("yawc", "rust", "yawc"),
    own("yawc-lean", "rust", "yawc", "--purpose", "lean"),
    own("sockudo-ws", "rust", "sockudo-ws"),
    Contestant("ws", "other", ("node", str(HERE / "servers" / "ws.js"), "--port", "{port}")),
    own(IDEAL, "bound", "bounds", program="ideal", whole=True),
    own(FLOOR, "bound", "bounds", program="floor", raw=True, whole=True),
)


def external(text: str) -> Contestant:
    """A server given as NAME='CMD {port}'."""
    name, _, command = text.partition("=")
    if not name or "{port}" not in command:
        raise Failed(f"--server {text!r} is not NAME='CMD {{port}}'")
    group = "ours" if name.startswith(BASE) else "other"
    return Contestant(name, group, tuple(shlex.split(command)))


def build(programs: dict[str, str], node: bool) -> None:
    """Builds each program by its feature, by itself, and installs the modules for node."""
    for program, feature in programs.items():
        command = ["cargo", "build", "--release", "--quiet", "--features", feature, "--bin", program]
        say(" ".join(command))
        environment = dict(os.environ, CARGO_TARGET_DIR=str(TARGET))
        if subprocess.run(command, cwd=HERE, env=environment).returncode != 0:
            raise Failed(f"{program} cannot be built")
    if not node:
        return
    for tool in ("node", "npm"):
        if not shutil.which(tool):
            raise Failed(f"{tool} is missing: install it, or leave ws out with --without ws")
    modules = [f"{name}@{version}" for name, version in MODULES.items()]
    say("npm install " + " ".join(modules))
    NPM.mkdir(parents=True, exist_ok=True)
    command = ["npm", "install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--silent"]
    if subprocess.run([*command, "--prefix", str(NPM), *modules], cwd=NPM).returncode != 0:
        raise Failed("the modules for node cannot be installed")


class Server:
    """A server that runs, on one core, and is ended on leaving."""

    _numbers = count()

    def __init__(self, command: tuple[str, ...], core: str, tool: tuple[str, ...] = (), **environment: str):
        self._port = self._free_port()
        self.address = f"127.0.0.1:{self._port}"
        self._errors = tempfile.TemporaryFile()
        program = [part.replace("{port}", str(self._port)) for part in command]
        try:
            self._process = subprocess.Popen(
                ["taskset", "-c", core, *tool, *program],
                env=dict(os.environ, NODE_PATH=NODE_PATH, **environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
            )
        except OSError as error:
            raise Failed(f"cannot start: {error}") from error
        self.pid = self._process.pid

    def __enter__(self) -> Server:
        limit = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), 1).close()
                return self
            except OSError:
                pass
            if self._process.poll() is not None or time.monotonic() > limit:
                self.__exit__()
                raise Failed(self._reason())
            time.sleep(0.002)

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Ends it such that a tool around it can write what it has seen."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        for pid in map(int, children or [str(self.pid)]):
            os.kill(pid, 15)
        self._process.wait(60)

    def _reason(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1].removeprefix("Error: ").strip('"') if lines else "does not listen"

    @classmethod
    def _free_port(cls) -> int:
        for _ in PORTS:
            port = PORTS[(os.getpid() * 7 + next(cls._numbers)) % len(PORTS)]
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                    return port
                except OSError:
                    continue
        raise Failed("no port is free")


@dataclass
class Cores:
    server: str
    load: str


def load(server: Server, core: str, *arguments: object, program: str = "load", pid: bool = True) -> dict:
    """What the load tells of one server."""
    command = ["taskset", "-c", core, str(PROGRAMS / program), *map(str, arguments), "--address", server.address]
    if pid:
        command += ["--pid", str(server.pid)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=LOAD_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"the load takes longer than {LOAD_SECONDS:.0f} s") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["the load fails"]
        raise Failed(lines[0].removeprefix("Error: ").strip('"').split("\\n")[0])
    return json.loads(done.stdout)


def watched(server: Server, core: str, *arguments: object, program: str = "load") -> dict:
    """The same, with the share of a core that other processes took meanwhile."""
    begin, before = time.monotonic(), busy(server.pid)
    got = load(server, core, *arguments, program=program)
    got["others"] = max(0.0, busy(server.pid) - before) / (time.monotonic() - begin)
    return got
