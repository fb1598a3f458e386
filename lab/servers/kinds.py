"""The kinds of real servers by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from lab.servers.httpd import Httpd
from lab.servers.model import Server
from lab.servers.nginx import Nginx
from lab.servers.stunnel import Stunnel

KINDS: Final[Mapping[str, Callable[[], Server]]] = {"httpd": Httpd, "nginx": Nginx, "stunnel": Stunnel}


def server_of(name: str) -> Server:
    """The Server of a value of tls.server that the scenario has checked."""
    return KINDS[name]()
