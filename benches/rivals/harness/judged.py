"""The servers as the suites judge them that look for what is right: built to be tried, not to be measured."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from harness.machine import LIBRARIES, MODULES, PROGRAMS, Failed, machine
from harness.servers import CONTESTANTS, Contestant, build

# Without the bounds, which are no libraries, and second settings of one library.
SERVERS = (*LIBRARIES, "ws")

# Those that agree to permessage-deflate when asked.
COMPRESSING = ("taut", "yawc", "sockudo-ws", "ws")
COMPRESSED = ("--mode", "takeover")

# What is measured takes a stream behind its handshake; what is judged has the one of its documentation.
OTHERWISE = {"yawc": "yawc-hyper"}


def choose(names: str | None) -> list[Contestant]:
    """The servers of these names, or all."""
    wanted = names.split(",") if names else SERVERS
    unknown = set(wanted) - set(SERVERS)
    if unknown:
        raise Failed(f"there is no server {', '.join(sorted(unknown))}; there are {', '.join(SERVERS)}")
    return [judged(contestant) for contestant in CONTESTANTS if contestant.name in wanted]


def judged(contestant: Contestant) -> Contestant:
    feature = OTHERWISE.get(contestant.name)
    if not feature:
        return contestant
    return replace(contestant, command=(str(PROGRAMS / f"echo-{feature}"), *contestant.command[1:]), feature=feature)


def build_judged(chosen: list[Contestant]) -> dict:
    """Builds them, and gives what the results depend on."""
    # A panic ends the connection, as in a program that is not built for a benchmark; and none waits for the linker.
    os.environ.update(CARGO_PROFILE_RELEASE_PANIC="unwind", CARGO_PROFILE_RELEASE_LTO="off")
    os.environ["CARGO_PROFILE_RELEASE_CODEGEN_UNITS"] = "16"
    node = any(one.name == "ws" for one in chosen)
    build({Path(one.command[0]).name: one.feature for one in chosen if one.feature}, node)
    return machine(node)


def version_of(name: str, told: dict) -> str:
    return told["versions"].get(name, MODULES.get(name, ""))
