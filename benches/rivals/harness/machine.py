"""The machine: its cores, its limits, and who else uses it."""

from __future__ import annotations

import os
import platform
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", HERE / "target")).resolve()
PROGRAMS = TARGET / "release"

# Modules for node; bufferutil is what the documentation of ws recommends for speed.
MODULES = {"ws": "8.23.0", "bufferutil": "4.1.0"}

LIBRARIES = (
    "taut",
    "tokio-tungstenite",
    "tokio-websockets",
    "fastwebsockets",
    "soketto",
    "wtx",
    "yawc",
    "sockudo-ws",
)

# Whose versions the results depend on.
TOLD = (*LIBRARIES, "tokio", "flate2", "zlib-rs")


class Failed(Exception):
    """Something that cannot be measured, in words for whoever asked."""


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def raise_limit(files: int) -> int:
    """As many open files as are needed, if the system allows; servers and loads inherit it. Gives what it allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard == resource.RLIM_INFINITY else max(hard, files)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    except (ValueError, PermissionError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def busy(server: int) -> float:
    """Seconds that processors worked for neither this server nor this program and what it started and ended."""
    tick = os.sysconf("SC_CLK_TCK")
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _idle, _wait, interrupt, soft, steal, *_ = map(int, file.readline().split()[1:])
    with open(f"/proc/{server}/stat", encoding="utf-8") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    ours = sum(os.times()[:4]) + sum(map(int, fields[11:13])) / tick
    return (user + nice + system + interrupt + soft + steal) / tick - ours


def machine(with_node: bool) -> dict:
    """What the figures depend on, without a name that would tell whose machine it is."""
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    rust = subprocess.run(["rustc", "--version"], capture_output=True, encoding="utf-8").stdout.split()
    versions = {"rustc": rust[1] if len(rust) > 1 else "unknown"}
    lock = (HERE / "Cargo.lock").read_text(encoding="utf-8")
    for crate in TOLD:
        version = re.search(rf'^name = "{crate}"\nversion = "(.*)"$', lock, re.MULTILINE)
        if version:
            versions[crate] = version[1]
    if with_node:
        node = "process.stdout.write(process.versions.node + ' ' + process.versions.zlib)"
        told = subprocess.run(["node", "-e", node], capture_output=True, encoding="utf-8").stdout.split()
        versions.update({"node": told[0], "zlib of node": told[1], **MODULES})
    return {
        "processor": found[1].strip() if found else platform.machine(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "date": time.strftime("%Y-%m-%d"),
        "versions": versions,
    }
