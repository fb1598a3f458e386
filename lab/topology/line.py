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
from lab.errors import LabFault


class KeeperLine:
    """Context manager: starts the keeper and, on leaving, has it end and clean up everything."""

    def __init__(self, without: Collection[str] = ()) -> None:
        """`without`: variables that hold PINs; neither the keeper nor what it starts has them in its environment."""
        self.environment = program.environment(without)

    def __enter__(self) -> KeeperLine:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ended: dict[int, int] = {}
        self._process = subprocess.Popen(
            program.command("lab.topology.keeper", str(theirs.fileno())),
            env=self.environment,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()
        self._process.wait()

    def guard(self, folder: Path) -> None:
        """The keeper removes this folder when the coordinator is gone, however it went."""
        self._ask("guarded", do="guard", folder=str(folder))

    def spawn(self, command: list[str], environment: Mapping[str, str], descriptors: list[int]) -> int:
        """Starts a trial root in a session of its own; returns its pid. Raises LabFault where that fails."""
        request = {"do": "spawn", "command": command, "environment": dict(environment)}
        socket.send_fds(self.socket, [json.dumps(request).encode()], descriptors)
        pid = int(self._answer("started"))
        if not pid:
            raise LabFault(f"{command[0]} cannot be started")
        return pid

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
