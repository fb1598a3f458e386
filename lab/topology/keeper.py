"""The keeper: a small process between the coordinator and the trials that ends everything, whichever way the run ends.

    coordinator --spawn, end, guard--> keeper (subreaper) --exec--> trial root --fork--> workers --fork--> ...
                <--ended---------------

As the subreaper it is the ancestor of whatever a trial leaves behind, so nothing can escape by forking or by setsid.
When the coordinator's end of the socket closes, even by SIGKILL, it kills what is left and removes the private folders
that it was told to guard. It holds no file of results.
"""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import time
from typing import Any, Final

import psutil

_PR_SET_CHILD_SUBREAPER: Final = 36
_PATIENCE_S: Final = 5.0
_DEAF_TO: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Keeper:
    """The process itself; see KeeperLine (lab.topology.line) for the coordinator's end."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line
        self.folders: set[str] = set()
        self.rescues: list[tuple[str, str]] = []
        self.roots: set[int] = set()
        self.follows = False  # every end is told, and when nothing is left

    def serve(self) -> None:
        """Works until the coordinator is gone, then leaves nothing behind."""
        wake, waker = socket.socketpair()
        for end in (wake, waker):
            end.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        selector = selectors.DefaultSelector()
        selector.register(self.line, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is wake:
                    wake.recv(4096)
                    left = self.reap()
                    if self.follows:
                        self.say(alone=not left)
                elif not self.obey():
                    self.end_all()
                    self.remove_folders()
                    return

    def obey(self) -> bool:
        """One request; False when the coordinator is gone."""
        try:
            raw, descriptors, _, _ = socket.recv_fds(self.line, 1 << 20, 3)
        except OSError:
            return False
        if not raw:
            return False
        request = json.loads(raw)
        if request["do"] == "spawn":
            self.say(started=self.spawn(request["command"], request["environment"], descriptors))
        elif request["do"] == "follow":
            self.say(started=self.follow(request, descriptors))
        elif request["do"] == "stop":
            self.say(asked=self.stop())
        elif request["do"] == "end":
            self.say(left=self.end_all())
        elif request["do"] == "guard":
            self.folders.add(request["folder"])
            if "keep" in request:
                self.rescues.append((request["keep"], request["keep_in"]))
            self.say(guarded=True)
        return True

    def say(self, **facts: Any) -> None:
        try:
            self.line.send(json.dumps(facts).encode())
        except OSError:
            pass  # the coordinator is gone; the next read will say so

    def spawn(self, command: list[str], environment: dict[str, str], descriptors: list[int]) -> int:
        """Starts a trial root: descriptors are its stdin, its stderr (and stdout), and its report pipe (3)."""
        given, errors, report = descriptors
        # Moved out of the way first: dup2 onto 0 to 3 must not overwrite one that is still needed.
        high = [os.dup2(fd, 100 + n) for n, fd in enumerate((given, errors, report))]
        actions = [(os.POSIX_SPAWN_DUP2, high[n], to) for n, to in ((0, 0), (1, 1), (1, 2), (2, 3))]
        try:
            pid = os.posix_spawn(
                command[0],
                [*command, str(os.getpid())],
                environment,
                file_actions=actions,
                setsid=True,
                setsigdef=_DEAF_TO,  # or servers would be deaf to them too
            )
        except OSError as error:
            print(f"{command[0]}: {error.strerror}", file=sys.stderr)
            pid = 0
        for fd in (*descriptors, *high):
            os.close(fd)
        self.roots.add(pid)
        return pid

    def follow(self, request: dict[str, Any], descriptors: list[int]) -> int:
        """Starts a program of the user's: in the user's session and process group, with the user's descriptors.

        What the keeper ignores the program must not inherit as ignored.
        """
        high = [os.dup2(fd, 100 + n) for n, fd in enumerate(descriptors)]
        actions = [(os.POSIX_SPAWN_DUP2, fd, to) for to, fd in enumerate(high)]
        self.follows = True
        try:
            pid = os.posix_spawn(
                request["path"],
                request["command"],
                request["environment"],
                file_actions=actions,
                setsigdef=request["signals"],
                setsigmask=[],
            )
        except OSError as error:
            self.say(refused=error.strerror)
            pid = 0
        for fd in (*descriptors, *high):
            os.close(fd)
        if pid:
            self.roots.add(pid)
        return pid

    def stop(self) -> int:
        """Asks its children, which are what is left of the tree at its top, to end; returns how many."""
        children = psutil.Process().children()
        for process in children:
            try:
                process.terminate()
            except psutil.NoSuchProcess:
                pass
        return len(children)

    def reap(self) -> int:
        """Reaps all that has ended, and reports the roots among them; 0 where no child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return 0
            if pid == 0:
                return 1
            if self.follows:
                self.say(reaped=pid, status=status)
            if pid in self.roots:
                self.roots.discard(pid)
                self.say(ended=pid, status=status)

    def end_all(self) -> int:
        """Kills every descendant until none is left; the number that would not die within the patience."""
        myself = psutil.Process()
        until = time.monotonic() + _PATIENCE_S
        while True:
            left = myself.children(recursive=True)
            for process in left:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    pass
            if not self.reap() or time.monotonic() > until:
                return len(myself.children(recursive=True))
            time.sleep(0.002)

    def remove_folders(self) -> None:
        for source, target in self.rescues:
            for name in os.listdir(source) if os.path.isdir(source) else ():
                try:
                    shutil.move(os.path.join(source, name), target)
                except OSError:
                    pass  # the disk is full: the others may still fit
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    for number in _DEAF_TO:
        signal.signal(number, signal.SIG_IGN)  # it goes when its work is done, not when someone is impatient
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    Keeper(socket.socket(fileno=int(sys.argv[1]))).serve()


if __name__ == "__main__":
    main()
