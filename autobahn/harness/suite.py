"""Finds a real `wstest`, the program of the Autobahn test suite, or makes one.

In this order: `$WSTEST`; `wstest` on the PATH; a Python 2.7, in which a virtual environment with the
pinned suite is made once and kept; docker or podman with the suite's image.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# The suite's own image: the last resort, where there is no Python 2.7.
IMAGE = "crossbario/autobahn-testsuite"

# The last releases that can make an environment for Python 2.7; they run on any later Python 3.
VIRTUALENV = "virtualenv==20.21.1"

# A first installation downloads some 20 packages and compiles one.
INSTALL_SECONDS = 300

# A first start compiles the suite to bytecode; a container may have to be pulled.
PROBE_SECONDS = 120


class NotFound(Exception):
    """No working `wstest`; the message says what was tried."""


@dataclass(frozen=True)
class Wstest:
    """How to start the suite: the command to which its options are added."""

    command: tuple
    version: str
    origin: str


def find(folder, say):
    """The first `wstest` that works. `folder` is the harness's own, `say` takes lines of progress.

    Raises `NotFound`.
    """
    if os.environ.get("WSTEST"):
        # The user's choice is not quietly replaced by another.
        return _probe(tuple(shlex.split(os.environ["WSTEST"])), "$WSTEST")

    tried = []
    for look in (_on_path, _in_environment, _in_container):
        try:
            return look(folder, say)
        except NotFound as error:
            tried.append(str(error))
    raise NotFound(
        "no working wstest:\n  "
        + "\n  ".join(tried)
        + "\nInstall Python 2.7 (pyenv install 2.7.18) or docker, or set WSTEST to the command."
    )


def _on_path(_folder, _say):
    if shutil.which("wstest") is None:
        raise NotFound("PATH: has no wstest")
    return _probe(("wstest",), "PATH")


def _in_environment(folder, say):
    python = _python_2_7()
    home = folder / ".venv"
    requirements = folder / "requirements.txt"
    # An environment knows its own path and its Python, so that it is stale if one of them changes.
    fingerprint = hashlib.sha256(
        "\n".join((str(home), python, VIRTUALENV, requirements.read_text(encoding="utf-8"))).encode()
    ).hexdigest()
    ready = home / "ready"
    if not (ready.is_file() and ready.read_text() == fingerprint):
        say(f"making an environment for wstest in {home} with {python}")
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        _make_environment(home, python, requirements)
        ready.write_text(fingerprint)
    made = home / "python2.7" / "bin"
    return _probe((str(made / "python"), "-E", "-u", str(made / "wstest")), "virtual environment")


def _in_container(folder, _say):
    engine = shutil.which("docker") or shutil.which("podman")
    if engine is None:
        raise NotFound("container: neither docker nor podman on the PATH")
    # The same path on both sides, so that the suite's files name places that exist on both.
    reports = folder / "reports"
    command = [engine, "run", "--rm", "--init", "--network", "host", "--env", "PYTHONUNBUFFERED=1"]
    command += ["--volume", f"{reports}:{reports}"]
    if Path(engine).name == "docker":
        command += ["--user", f"{os.getuid()}:{os.getgid()}"]
    return _probe((*command, IMAGE, "wstest"), f"container ({engine})")


def _probe(command, origin):
    output = _run(command + ("--autobahnversion",), origin, PROBE_SECONDS)
    version = re.search(r"AutobahnTestSuite (\S+)", output)
    if version is None:
        raise NotFound(f"{origin}: {shlex.join(command)} does not tell the suite's version")
    return Wstest(command, version.group(1), origin)


def _python_2_7():
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = sorted(pyenv.glob("versions/2.7*/bin/python"), reverse=True)
    candidates += [path for path in map(shutil.which, ("python2.7", "python2", "python")) if path]
    for candidate in candidates:
        try:
            version = _run((str(candidate), "-c", "import sys; print(sys.version_info[:2])"), "", 20)
        except NotFound:
            continue  # A shim of pyenv for a version that is not active.
        if version.strip() == "(2, 7)":
            return str(candidate)
    raise NotFound("Python 2.7: neither in pyenv nor on the PATH")


def _make_environment(home, python, requirements):
    origin = f"virtual environment for {python}"
    tool = home / "virtualenv"
    made = home / "python2.7"
    pip = ("-m", "pip", "--quiet", "--disable-pip-version-check", "install")
    _run((sys.executable, *pip, "--target", str(tool), VIRTUALENV), origin, INSTALL_SECONDS)
    _run(
        (sys.executable, "-m", "virtualenv", "--no-download", "--python", python, str(made)),
        origin,
        INSTALL_SECONDS,
        PYTHONPATH=str(tool),
    )
    _run((str(made / "bin" / "python"), *pip, "--requirement", str(requirements)), origin, INSTALL_SECONDS)


def _run(command, origin, seconds, **environment):
    """The output of a command that succeeds in time. Raises `NotFound` with the end of it if not."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            env={**os.environ, **environment},
            encoding="utf-8",
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotFound(f"{origin}: {error}") from error
    if done.returncode != 0:
        end = " | ".join(done.stdout.strip().splitlines()[-3:])
        raise NotFound(f"{origin}: {shlex.join(command)} failed with status {done.returncode}: {end}")
    return done.stdout
