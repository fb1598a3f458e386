"""One wrong scenario, and what many of them begin with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SECRET = "98127634"
"""Stands for a PIN wherever one is given wrongly; no message may hold it."""


@dataclass(frozen=True)
class Bad:
    id: str
    source: bytes | Callable[[Path], Path]  # the file's content, or what makes a path in an empty folder
    fragments: tuple[str, ...]  # all in the message: key, allowed values
    overrides: tuple[str, ...] = ()
    file: str = "wrong.toml"  # in the message

    def path(self, folder: Path) -> Path:
        """The wrong file, made in an empty folder."""
        if callable(self.source):
            return self.source(folder)
        path = folder / self.file
        path.write_bytes(self.source)
        return path


MODULE = b'[token]\nkind = "module"\npath = "/m.so"\ntoken_label = "t"\n'
TWO_ARMS = b'[[arm]]\nname = "a"\nload.rate_hz = 5\n[[arm]]\nname = "b"\n'
HANDSHAKE = b'[workload]\nkind = "handshake"\n'
EXTERNAL = HANDSHAKE + b'[tls]\nserver = "external"\nhost = "www.example"\nport = 443\n'
TOKENS = "softhsm, nss, opencryptoki, tpm2, p11kit-proxy, p11kit-remote, module"
POLICIES = "shared, per-process, reinit, broker"
PIN = ("pin_env", "pin_file", "never written")
