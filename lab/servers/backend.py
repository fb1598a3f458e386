"""What stands behind stunnel, which resets a connection that it can pass on to nobody: accepts, and closes at once.

`python -m lab.servers.backend SOCKET` listens at a UNIX socket, which everybody may connect to, until SIGTERM.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Final

_BACKLOG: Final = 4096
_FOR_ALL: Final = 0o666


def serve(path: str) -> None:
    """Never returns. The socket's name appears when it listens, so whoever sees it can connect."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    beginning = f"{path}.new"
    listener.bind(beginning)
    os.chmod(beginning, _FOR_ALL)
    listener.listen(_BACKLOG)
    os.rename(beginning, path)
    while True:
        accepted, _ = listener.accept()
        accepted.close()


def main() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    serve(sys.argv[1])


if __name__ == "__main__":
    main()
