"""The lab's prefork server by itself, for benchmarks: all of it made before the fork, as a server's master does.

    python benchmarks/prefork.py FOLDER PROCESSES LISTENING_DESCRIPTOR < what to serve, as JSON

Its keys are `bridge`, `version`, `library`, `module`, `key` and `certificate`, as in lab.native.serving. It prints the
children's process ids in one line when they are about to accept, and ends with its standard input, and they with it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from lab.native.serving import Server, Tls
from lab.process.own import die_with_parent

ROWS: Final = 1 << 20
TIMEOUT_NS: Final = 5_000_000_000


def main() -> int:
    folder, processes, listener = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    what = json.loads(sys.stdin.readline())
    tls = Tls(what["bridge"], what["version"])
    library, module = (Path(what[name]) if what.get(name) else None for name in ("library", "module"))
    tls.load(library, module)
    tls.key(0, what["key"])
    tls.context(0, what["certificate"])
    parent, children = os.getpid(), []
    for process in range(1, processes + 1):
        child = os.fork()
        if not child:
            die_with_parent(parent)
            server = Server(folder, process, ROWS, tls, TIMEOUT_NS)
            server.listen("blocking", [(listener, 0)])
            server.run(0)
            os._exit(1)  # nobody says stop
        children.append(child)
    print(*children, flush=True)
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
