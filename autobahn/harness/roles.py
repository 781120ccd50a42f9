"""Runs one role: starts the testee and the suite, follows their progress, reads the report.

`server`: the suite's fuzzing client connects to the server testee, once for each case.
`client`: the client testee connects to the suite's fuzzing server, once for each case.

With TLS both ends speak it; with nginx, the one that connects goes through it, and TLS, if wanted, ends there.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

from .front import Certificate, Unusable, nginx

AGENT = "taut"

# Patience of the suite with a testee that neither closes nor answers: its own default is 1 second,
# too short for a loaded machine. A testee that behaves never makes it wait.
PATIENCE = {"openHandshakeTimeout": 10, "closeHandshakeTimeout": 5}
PATIENCE_OF_THE_CLIENT = {"serverConnectionDropTimeout": 5}

# For a process to print its address, or to listen.
START_SECONDS = 30
# For the suite to write its report.
REPORT_SECONDS = 60
# For a process to end when it is asked to.
STOP_SECONDS = 3


class Children:
    """Every process of a run; each leads a process group, so that its own children end with it."""

    def __init__(self):
        self._lock = threading.Lock()
        self._processes = []
        self._closed = False

    def start(self, command, **options):
        with self._lock:
            if self._closed:
                raise Failed("the run was stopped")
            try:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, start_new_session=True, **options
                )
            except OSError as error:
                raise Failed(f"{command[0]} cannot be started: {error}") from error
            self._processes.append(process)
            return process

    def stop(self, process):
        """Ends a process, politely and then not."""
        if process.poll() is None:
            _signal_group(process, signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                _signal_group(process, signal.SIGKILL)
                process.wait()

    def stop_all(self):
        """Ends all of them, and refuses to start another."""
        with self._lock:
            self._closed = True
            processes = list(self._processes)
        for process in processes:
            if process.poll() is None:
                _signal_group(process, signal.SIGTERM)
        for process in processes:
            self.stop(process)


class Failed(Exception):
    """The role could not be run to its end."""


class Role:
    """One role of the testee: a thread to run it, and what is known of it so far."""

    def __init__(
        self, name, testee, flags, wstest, selection, folder, tls=False, through_nginx=False, bridge=None, command=()
    ):
        """`bridge` is the program that carries the testee's HTTP/2 to the suite, which speaks HTTP/1.1; `command`
        starts a server at `{port}`, in the place of the testee."""
        self.name = name
        # Cases announced by the suite, cases begun, and the one that runs.
        self.total = 0
        self.begun = 0
        self.current = ""
        # What went wrong besides the results of cases, and those results by case.
        self.problems = []
        self.report = {}
        self.folder = folder
        self._testee = testee
        self._command = command
        self._flags = tuple(flags)
        self._bridge = bridge
        self._wstest = wstest
        self._selection = selection
        self._certificate = Certificate(folder) if tls else None
        self._through_nginx = through_nginx
        self._children = Children()
        self._process_of_testee = None
        # What happens to the processes after the harness has stopped one of them is no news.
        self._stopped = False
        self._reported = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        if self._certificate:
            try:
                self._certificate.make()
            except Unusable as error:
                raise Failed(str(error)) from error
        self._thread.start()

    def cut_short(self, problem):
        """Ends the testee; the suite then reports the cases that it saw."""
        self._report_problem(problem)
        self._stopped = True
        if self._process_of_testee:
            self._children.stop(self._process_of_testee)
            self._thread.join(REPORT_SECONDS)
        self.stop()

    def stop(self):
        """Ends the role's processes, and with them its thread."""
        self._stopped = True
        self._children.stop_all()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def running(self):
        return self._thread.is_alive()

    @property
    def index(self):
        """The HTML report."""
        return self.folder / "index.html"

    def _run(self):
        try:
            if self.name == "server":
                self._run_server()
            else:
                self._run_client()
        except Failed as error:
            self._report_problem(str(error))
        finally:
            self._children.stop_all()
        self._look_for("testee.log", r"panicked at", "the testee panicked")
        if self._bridge:
            self._look_for("bridge.log", r"panicked at", "the bridge panicked")
        self._look_for("wstest.log", r"^Traceback", "wstest raised an exception")
        self._read_report()

    def _report_problem(self, problem):
        if not self._stopped:
            self.problems.append(problem)

    def _run_server(self):
        flags = self._flags
        if self._certificate and not self._through_nginx:
            flags += ("--pem", str(self._certificate.chain), str(self._certificate.key))
        if self._command:
            testee, address = self._start_command()
        else:
            testee = self._start_testee(*flags, "127.0.0.1:0")
            address = self._address_of(testee, "testee")
        if self._through_nginx:
            address = self._start_nginx(address)
        if self._bridge:
            address = self._start_bridge("to-h2", address)
        wstest, reader = self._start_wstest(
            "fuzzingclient",
            {
                "servers": [{"url": f"{self._scheme}://{address}", "agent": AGENT}],
                "options": {**PATIENCE, **PATIENCE_OF_THE_CLIENT},
            },
        )
        reader.join()
        status = wstest.wait()
        if testee.poll() is not None:
            self._report_problem(f"the testee died: {_status(testee.returncode)}{self._end_of('testee.log')}")
        else:
            self._look_for("wstest.log", r"^Connection to .* failed", "wstest could not connect")
        if status != 0:
            self._report_problem(f"wstest died: {_status(status)}{self._end_of('wstest.log')}")

    def _run_client(self):
        port = _free_port()
        url = f"ws://127.0.0.1:{port}"
        specification = {"url": url, "options": PATIENCE}
        flags = self._flags
        if self._certificate:
            flags += ("--roots", str(self._certificate.chain))
            if not self._through_nginx:
                url = f"wss://127.0.0.1:{port}"
                key, cert = str(self._certificate.key), str(self._certificate.chain)
                specification.update(url=url, key=key, cert=cert)
        wstest, _ = self._start_wstest("fuzzingserver", specification)
        self._wait_until_listening(wstest, port, "wstest")
        if self._through_nginx:
            url = f"{self._scheme}://{self._start_nginx(f'127.0.0.1:{port}')}"
        if self._bridge:
            url = f"ws://{self._start_bridge('from-h2', f'127.0.0.1:{port}')}"
            flags += ("--h2",)
        testee = self._start_testee(url, *flags)
        status = testee.wait()
        if status != 0:
            self._report_problem(f"the testee died: {_status(status)}{self._end_of('testee.log')}")
        if wstest.poll() is not None:
            self._report_problem(f"wstest died: {_status(wstest.returncode)}{self._end_of('wstest.log')}")
        elif not self._reported.is_set():
            # A testee that died half way did not ask for its report.
            self._ask_for_report(wstest, port)

    @property
    def _scheme(self):
        return "wss" if self._certificate else "ws"

    def _start_nginx(self, upstream):
        """Starts nginx in front of that address, and gives its own."""
        port = _free_port()
        command = nginx(self.folder, port, upstream, self._certificate)
        with open(self.folder / "nginx.log", "wb") as log:
            process = self._children.start(command, stdout=log, stderr=subprocess.STDOUT)
        self._wait_until_listening(process, port, "nginx")
        return f"127.0.0.1:{port}"

    def _start_command(self):
        """Starts the server of a command line at a port of our choice, and gives its address too."""
        port = _free_port()
        program, *arguments = (part.replace("{port}", str(port)) for part in self._command)
        self._testee = program
        testee = self._start_testee(*arguments)
        self._wait_until_listening(testee, port, "testee")
        return testee, f"127.0.0.1:{port}"

    def _start_testee(self, *arguments):
        with open(self.folder / "testee.log", "wb") as log:
            self._process_of_testee = self._children.start(
                (self._testee, *arguments), stdout=log, stderr=subprocess.STDOUT
            )
        return self._process_of_testee

    def _start_bridge(self, direction, target):
        """Starts the bridge and returns the address on which it listens."""
        with open(self.folder / "bridge.log", "wb") as log:
            bridge = self._children.start(
                (self._bridge, direction, target, "127.0.0.1:0"), stdout=log, stderr=subprocess.STDOUT
            )
        return self._address_of(bridge, "bridge")

    def _start_wstest(self, mode, specification):
        specification = {
            "outdir": str(self.folder),
            "cases": list(self._selection.include),
            "exclude-cases": list(self._selection.exclude),
            **specification,
        }
        path = self.folder / "wstest.json"
        path.write_text(json.dumps(specification, indent=2) + "\n")
        command = (*self._wstest.command, "--mode", mode, "--spec", str(path), "--webport", "0")
        process = self._children.start(
            command,
            cwd=self.folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        reader = threading.Thread(target=self._follow, args=(process,), daemon=True)
        reader.start()
        return process, reader

    def _follow(self, wstest):
        """Copies what the suite prints into its log, and learns its progress from it."""
        with open(self.folder / "wstest.log", "w", encoding="utf-8", buffering=1) as log:
            for line in wstest.stdout:
                log.write(line)
                if line.startswith("Running test case ID "):
                    self.begun += 1
                    self.current = line.split()[4]
                elif line.startswith("Report generation complete"):
                    self._reported.set()
                else:
                    announced = re.match(r"Ok, will run (\d+) test cases", line)
                    if announced:
                        self.total = int(announced.group(1))
                        if self.total == 0:
                            # The fuzzing client would wait for ever.
                            self._report_problem("the selection holds no case of the suite")
                            _signal_group(wstest, signal.SIGTERM)

    def _address_of(self, process, name):
        log = self.folder / f"{name}.log"

        def printed():
            return re.search(r"\b127\.0\.0\.1:[1-9]\d*", log.read_text(errors="replace"))

        if not _wait_for(lambda: printed() or process.poll() is not None, START_SECONDS) or not printed():
            raise Failed(f"the {name} did not print its address{self._end_of(f'{name}.log')}")
        return printed().group()

    def _wait_until_listening(self, process, port, name):
        def listens():
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return True
            except OSError:
                return False

        if not _wait_for(lambda: process.poll() is not None or listens(), START_SECONDS):
            raise Failed(f"{name} does not listen{self._end_of(f'{name}.log')}")
        if process.poll() is not None:
            raise Failed(f"{name} died: {_status(process.returncode)}{self._end_of(f'{name}.log')}")

    def _ask_for_report(self, wstest, port):
        request = (
            f"GET /updateReports?agent={AGENT} HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{port}\r\n"
            "Connection: Upgrade\r\n"
            "Upgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n\r\n"
        )
        try:
            with self._connection(port) as connection:
                connection.sendall(request.encode())
                _wait_for(lambda: self._reported.is_set() or wstest.poll() is not None, REPORT_SECONDS)
        except OSError:
            pass  # The report is missing then, which the next line tells.
        if not self._reported.is_set():
            self._report_problem(f"wstest did not write its report{self._end_of('wstest.log')}")

    def _connection(self, port):
        """A connection to the suite itself, past nginx."""
        connection = socket.create_connection(("127.0.0.1", port), timeout=START_SECONDS)
        if not self._certificate or self._through_nginx:
            return connection
        return ssl.create_default_context(cafile=self._certificate.chain).wrap_socket(
            connection, server_hostname="127.0.0.1"
        )

    def _read_report(self):
        try:
            agents = json.loads((self.folder / "index.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            self._report_problem(f"no report: {error}")
            return
        self.report = agents.get(AGENT, {})
        others = sorted(set(agents) - {AGENT})
        if others:
            self._report_problem(f"the testee must call itself '{AGENT}', not {', '.join(others)}")

    def _look_for(self, log, pattern, problem):
        try:
            lines = (self.folder / log).read_text(errors="replace").splitlines()
        except OSError:
            return
        found = [number for number, line in enumerate(lines) if re.search(pattern, line)]
        if found:
            shown = lines[found[0] : found[0] + 5]
            self.problems.append(f"{problem}, {len(found)} times; first:{_indented(shown)}")

    def _end_of(self, log):
        try:
            lines = (self.folder / log).read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return f"; {self.folder / log} ends with:{_indented(lines[-8:])}" if lines else ""


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(condition, seconds):
    """Whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _signal_group(process, number):
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass


def _status(returncode):
    if returncode < 0:
        return f"signal {signal.Signals(-returncode).name}"
    return f"exit status {returncode}"


def _indented(lines):
    return "".join(f"\n      {line}" for line in lines)
