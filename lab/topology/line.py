"""The coordinator's end of the keeper: spawn a trial root, hear of its end, end all."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from lab import program
from lab.errors import LabFault, ScenarioError


class KeeperLine:
    """Context manager: starts the keeper and, on leaving, has it end and clean up everything."""

    def __init__(self, without: Collection[str] = (), own_session: bool = True) -> None:
        """`without`: variables that hold PINs; neither the keeper nor what it starts has them in its environment.

        own_session: False for a program that is to keep the user's terminal, which belongs to the user's session.
        """
        self.environment = program.environment(without)
        self._own_session = own_session
        self._descriptors = () if own_session else inherited_descriptors()
        self.alone: bool | None = (
            None  # whether nothing is left of what follow() started; None: the keeper has yet to say
        )
        self.reaped: dict[int, int] = {}  # wait statuses, by pid, of all processes that the keeper saw end
        self._refused = ""

    def __enter__(self) -> KeeperLine:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ended: dict[int, int] = {}
        self._process = subprocess.Popen(
            program.command("lab.topology.keeper", str(theirs.fileno())),
            env=self.environment,
            pass_fds=[theirs.fileno(), *self._descriptors],
            stdin=subprocess.DEVNULL,
            start_new_session=self._own_session,
        )
        theirs.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()
        self._process.wait()

    def guard(self, folder: Path, keep: Path | None = None, keep_in: Path | None = None) -> None:
        """The keeper removes this folder when the coordinator is gone, however it went.

        keep: a folder in it whose files are moved to `keep_in` first.
        """
        kept = {"keep": str(keep), "keep_in": str(keep_in)} if keep else {}
        self._ask("guarded", do="guard", folder=str(folder), **kept)

    def spawn(self, command: list[str], environment: Mapping[str, str], descriptors: list[int]) -> int:
        """Starts a trial root in a session of its own; returns its pid. Raises LabFault where that fails."""
        request = {"do": "spawn", "command": command, "environment": dict(environment)}
        socket.send_fds(self.socket, [json.dumps(request).encode()], descriptors)
        pid = int(self._answer("started"))
        if not pid:
            raise LabFault(f"{command[0]} cannot be started")
        return pid

    def follow(self, path: Path, command: list[str], environment: Mapping[str, str], signals: Collection[int]) -> int:
        """Starts a program of the user's with this process's stdin, stdout and stderr; returns its pid.

        signals: those that the program is to find as they are by default. From then on hear() takes in every end in
        its tree, and `alone` says when nothing of it is left. Raises ScenarioError where the
        program cannot be started.
        """
        request = {
            "do": "follow",
            "path": str(path),
            "command": command,
            "environment": dict(environment),
            "signals": list(signals),
        }
        try:
            socket.send_fds(self.socket, [json.dumps(request).encode()], [0, 1, 2])
        except OSError as error:  # EMSGSIZE: arguments and environment are larger than a socket's buffer
            raise ScenarioError(f"{path}: cannot be started: {error.strerror}") from None
        pid = int(self._answer("started"))
        if not pid:
            raise ScenarioError(f"{path}: cannot be started: {self._refused}")
        return pid

    def stop(self) -> None:
        """SIGTERM to what is left of the tree at its top."""
        self._ask("asked", do="stop")

    def hear(self) -> None:
        """Takes in what the keeper has said, without waiting."""
        self.socket.setblocking(False)
        try:
            while True:
                self._note(self._read())
        except BlockingIOError:
            pass  # that was all
        finally:
            self.socket.setblocking(True)

    def ended(self, pid: int, wait: bool = False) -> int | None:
        """Wait status of a root that has ended; None where it has not."""
        while pid not in self._ended:
            self.socket.setblocking(wait)
            try:
                self._note(self._read())
            except BlockingIOError:
                return None
            finally:
                self.socket.setblocking(True)
        return self._ended[pid]

    def end_all(self) -> None:
        """Kills every process of every trial. Raises LabFault where one will not die (uninterruptible sleep)."""
        left = self._ask("left", do="end")
        if left:
            raise LabFault(f"{left} processes of the trial cannot be killed")

    def fileno(self) -> int:
        return self.socket.fileno()

    def _ask(self, answer: str, **request: Any) -> Any:
        try:
            self.socket.send(json.dumps(request).encode())
        except OSError:
            raise LabFault("the keeper process is gone") from None
        return self._answer(answer)

    def _answer(self, name: str) -> Any:
        while True:
            facts = self._read()
            if name in facts:
                return facts[name]
            self._note(facts)

    def _read(self) -> dict[str, Any]:
        raw = self.socket.recv(1 << 16)
        if not raw:
            raise LabFault("the keeper process is gone")
        facts: dict[str, Any] = json.loads(raw)
        return facts

    def _note(self, facts: dict[str, Any]) -> None:
        if "ended" in facts:
            self._ended[facts["ended"]] = facts["status"]
            self.alone = None  # it says so next
        if "reaped" in facts:
            self.reaped[facts["reaped"]] = facts["status"]
        self.alone = facts.get("alone", self.alone)
        self._refused = facts.get("refused", self._refused)


def inherited_descriptors() -> tuple[int, ...]:
    """Descriptors from 3 on that this process was started with, as for a shell's <(...); Python's own are not so."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) > 2 and os.get_inheritable(int(name)):
                found.append(int(name))
        except OSError:
            continue  # that of the listing itself
    return tuple(found)


def kill(handle: int) -> None:
    """SIGKILL to the process behind a pidfd, which cannot be somebody else's by now."""
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        pass


def open_handle(pid: int) -> int | None:
    """A pidfd; None where the process is gone."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
