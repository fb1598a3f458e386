"""Entry of a worker of the `spawn` topology: exec'd, so it inherits nothing of the root but sockets."""

from __future__ import annotations

import os
import socket
import sys

from lab.process.own import die_with_parent, leave_no_core, let_stacks_be_read
from lab.record.order import TrialOrder
from lab.worker.channel import Channel
from lab.worker.member import context_of, live


def main() -> None:
    process, descriptor, parent, *listening = (int(word) for word in sys.argv[1:])
    die_with_parent(parent)
    let_stacks_be_read()
    leave_no_core()
    order = TrialOrder.from_json(sys.stdin.read())
    channel = Channel(socket.socket(fileno=descriptor))
    listeners = [socket.socket(fileno=one) for one in listening]
    os._exit(live(order, process, channel, context_of(order), None, listeners))


if __name__ == "__main__":
    main()
