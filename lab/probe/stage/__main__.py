"""`python -m lab.probe.stage PARENT`: does one stage."""

from __future__ import annotations

import os
import sys

from lab.errors import LabFault
from lab.native.cryptoki import CryptokiError, NotAModule
from lab.probe.order import StageOrder
from lab.probe.seen import say
from lab.probe.stage.bench import EVENTS, Bench
from lab.probe.stage.stages import STAGES
from lab.process.mounts import enter
from lab.process.own import die_with_parent, leave_no_core, let_stacks_be_read, raise_limit_of_files


def main() -> int:
    die_with_parent(int(sys.argv[1]))
    let_stacks_be_read()
    leave_no_core()
    raise_limit_of_files()
    order = StageOrder.from_json(sys.stdin.read())
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)  # a module that prints does not spoil the terminal
    try:
        enter(order.mounts)
        bench = Bench(order)
        bench.start_programs()
        STAGES[order.stage](bench)
    except (NotAModule, CryptokiError) as error:
        os.write(EVENTS, say(fact="refused", value=str(error)))
    except LabFault as fault:
        os.write(EVENTS, say(fact="fault", value=str(fault)))
    os.write(EVENTS, say(fact="complete", value=True))
    return 0


if __name__ == "__main__":
    sys.stdout.flush()
    # Programs of the token die with this process: some would wait for the clients that a stage has left behind.
    os._exit(main())  # without the exit handlers of a module that may be broken by now
