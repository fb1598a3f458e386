"""From one process to 200 processes and 2,000 sessions: no row is lost, and nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.combined import LOAD_PHASES, Sealed, sealed
from tests.runs import Place, balanced, shared_memory

SHORT = '[load]\nmode = "open"\nwarmup_s = 0\nduration_s = 0.5\n'
TWO_THOUSAND = f'[topology]\nkind = "worker"\nprocesses = 200\nthreads = 10\n{SHORT}rate_hz = 4000\n'
HERD = f'[topology]\nprocesses = 200\nstart = "herd"\n[workload]\nkind = "null"\n{SHORT}rate_hz = 4000\n'
SINGLE = f"[topology]\nprocesses = 1\n{SHORT}rate_hz = 100\n"


def _whole(place: Place, text: str) -> Sealed:
    path = place.folder / "size.toml"
    path.write_text(f"blocks = 1\n{text}")
    before = shared_memory()
    done = place.run(path, "--quiet")
    assert done.returncode == 0, done.stdout + done.stderr
    assert place.leftovers() == []
    assert shared_memory() <= before  # others may have taken theirs away
    (one,) = sealed(place).values()
    assert balanced(one.arm)
    assert one.trial["lost_rows"] == 0
    return one


def test_two_hundred_processes_of_ten_threads_keep_two_thousand_sessions_open_and_lose_no_row(place: Place) -> None:
    one = _whole(place, TWO_THOUSAND)
    arm = one.arm
    assert arm["ok"] == arm["verified"] == arm["planned"] > 1500
    assert arm["processes"]["started"] == 200
    sessions = arm["sessions"]
    assert sessions == {"opened": 2000, "closed": 2000, "leaked": 0, "peak_per_process": 10, "peak_total": 2000}
    load = one.operations[one.operations.phase.isin(LOAD_PHASES)]
    assert len(load) == arm["planned"]
    planned = {process["index"]: process["planned"] for process in one.workers if process["planned"]}
    assert load.groupby("process").size().to_dict() == planned
    signed = one.calls[one.calls.function == "C_Sign"].groupby("process").size()
    assert signed.to_dict() == {n: planned.get(n, 0) + 1 for n in range(1, 201)}  # and the first one of each


def test_two_hundred_processes_at_once_are_born_of_one_root(place: Place) -> None:
    one = _whole(place, HERD)
    assert one.arm["ok"] == one.arm["planned"] > 1500
    assert one.arm["processes"]["started"] == len({worker["pid"] for worker in one.workers}) == 200
    assert one.calls.empty


def test_one_process_is_a_topology_too(place: Place) -> None:
    one = _whole(place, SINGLE)
    assert one.arm["ok"] == one.arm["verified"] == one.arm["planned"]
    assert len(one.trial["processes"]) == 2
    assert one.arm["sessions"]["peak_total"] == 1


@pytest.mark.parametrize(("kind", "executed"), [("prefork", "lab.worker.root"), ("spawn", "lab.worker.spawned")])
def test_workers_are_children_of_the_root_and_only_spawned_ones_run_a_program_of_their_own(
    kind: str, executed: str, place: Place, tmp_path: Path
) -> None:
    path = tmp_path / "family.toml"
    path.write_text(f'blocks = 1\n[topology]\nkind = "{kind}"\nprocesses = 3\n{SHORT}rate_hz = 50\n')
    running = place.start(path, "--quiet")
    seen: dict[int, set[tuple[int, str]]] = {}
    for process in place.watched(running):
        try:
            seen.setdefault(process.pid, set()).add((process.ppid(), " ".join(process.cmdline())))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    (one,) = sealed(place).values()
    for worker in one.workers:
        assert {parent for parent, _ in seen[worker["pid"]]} == {one.root["pid"]}
        programs = {command.split(" -m ")[1].split()[0] for _, command in seen[worker["pid"]] if " -m " in command}
        assert executed in programs
        assert programs <= {"lab.worker.root", executed}  # a spawned one is the root's copy until it execs
