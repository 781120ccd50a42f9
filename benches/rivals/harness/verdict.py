"""A bar, and whether the measurements meet it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# How many of those that fail are told.
SHOWN = 6

MET, NOT_MET, UNKNOWN = "met", "**not met**", "not measured"


@dataclass(frozen=True)
class Verdict:
    work: str
    bar: str
    met: str
    detail: str


@dataclass(frozen=True)
class Case:
    """One comparison of a bar."""

    name: str
    met: bool
    told: str
    # The greater, the closer to failing.
    rank: float


def verdict(work: str, bar: str, cases: Iterable[Case | None]) -> Verdict:
    known = [case for case in cases if case is not None]
    if not known:
        return Verdict(work, bar, UNKNOWN, "")
    failed = [case for case in known if not case.met]
    shown = sorted(failed or known, key=lambda case: -case.rank)[: SHOWN if failed else 1]
    detail = "; ".join(f"{case.name}: {case.told}".removeprefix(": ") for case in shown)
    if len(failed) > len(shown):
        detail += f"; and {len(failed) - len(shown)} more"
    if failed:
        return Verdict(work, bar, f"{NOT_MET}, {len(failed)} of {len(known)}", detail)
    return Verdict(work, bar, MET, f"closest of {len(known)}: {detail}" if len(known) > 1 else detail)
