"""The line between the trial root and one worker: a socket pair of short, whole messages."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import Any, Literal

Word = Literal["begin", "ready", "release", "stop", "finished", "leave"]


@dataclass(frozen=True)
class Message:
    word: Word
    at_ns: int = 0  # release: when
    failure: str | None = None  # ready: the step of the set-up that failed
    cpu_ns: int = 0  # finished: processor time of this process since the release
    busy_ns: int = 0  # finished: and how long ago that was


class Channel:
    """One end. recv() blocks; it raises EOFError when the other end is gone."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end

    @staticmethod
    def pair() -> tuple[Channel, Channel]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return Channel(ours), Channel(theirs)

    def fileno(self) -> int:
        return self.end.fileno()

    def send(
        self, word: Word, at_ns: int = 0, failure: str | None = None, *, cpu_ns: int = 0, busy_ns: int = 0
    ) -> None:
        """Raises OSError when the other end is gone."""
        self.end.send(json.dumps([word, at_ns, failure, cpu_ns, busy_ns]).encode())

    def recv(self) -> Message:
        raw = self.end.recv(65536)
        if not raw:
            raise EOFError
        fields: list[Any] = json.loads(raw)
        return Message(*fields)

    def wait_for(self, *words: Word) -> Message:
        """The next message, which must be one of these."""
        message = self.recv()
        if message.word not in words:
            raise EOFError(f"expected {' or '.join(words)}, got {message.word}")
        return message

    def close(self) -> None:
        self.end.close()
