"""Ways to die. Nothing recorded is ever lost, the outcome has a name, and nothing is left behind."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from lab import program
from lab.record.names import FUNCTION_NUMBER
from tests.runs import Place, balanced, until
from tests.topology.conftest import Mischief

OPEN = '[load]\nmode = "open"\nrate_hz = 300\nwarmup_s = 0\nduration_s = 0.5\n'
CLOSED = '[load]\nmode = "closed"\nwarmup_s = 0\nduration_s = 0.3\n'
RELOADED = '[context]\npolicy = "reinit"\n'  # the root maps the module too, so it can tell who is a child
LONG = '[load]\nmode = "open"\nrate_hz = 100\nwarmup_s = 0\nduration_s = 30\n'


def test_the_call_that_killed_a_worker_is_the_last_row_of_its_calls(place: Place, mischief: Mischief) -> None:
    path = mischief.scenario("sigkill@C_Sign#9", f'[topology]\nkind = "prefork"\nprocesses = 2\n{RELOADED}{CLOSED}')
    assert place.run(path, "--quiet", environment=mischief.environment).returncode == 0
    (calls,) = place.out.glob("trials/*/calls.parquet")
    table = pq.read_table(calls).to_pydict()
    unfinished = [i for i, state in enumerate(table["state"]) if state == 1]
    (row,) = unfinished
    of_victim = [i for i, process in enumerate(table["process"]) if process == table["process"][row]]
    assert table["function"][row] == FUNCTION_NUMBER["C_Sign"]
    assert row == of_victim[-1]
    signed = [i for i in of_victim if table["function"][i] == FUNCTION_NUMBER["C_Sign"]]
    assert len(signed) == 9  # the eight that returned, and the one that did not
    (operations,) = place.out.glob("trials/*/operations.parquet")
    rows = pq.read_table(operations).to_pydict()
    of_victim = [i for i, process in enumerate(rows["process"]) if process == table["process"][row]]
    assert sum(rows["outcome"][i] == 2 for i in of_victim) == 1


@pytest.mark.parametrize(
    "mischief_word", ["sigsegv@C_Sign#1", "sigkill@C_SignInit#1", "hang@C_Sign#1", "exit0@C_Sign#1"]
)
def test_a_trial_root_that_dies_leaves_a_named_outcome_and_nothing_else(
    mischief_word: str, place: Place, mischief: Mischief
) -> None:
    tables = f'[topology]\nprocesses = 3\n[context]\npolicy = "shared"\n{OPEN}'
    path = mischief.scenario(mischief_word, tables, who="root")
    place.run(path, "--quiet", "--set", "timeout_s=2", environment=mischief.environment)
    (arm,) = place.summary()["arms"].values()
    assert balanced(arm)
    assert arm["shed"] == arm["planned"]
    root = place.trial()["processes"][0]
    expected = {"sigsegv": "signal", "sigkill": "signal", "hang": "hang", "exit0": "exit"}
    assert root["end"] == expected[mischief_word.split("@")[0]]
    assert arm["failures"]
    assert place.leftovers() == []


def test_workers_of_a_root_that_dies_in_the_load_end_with_it(place: Place, scenario: Callable[[str], Path]) -> None:
    running = place.start(scenario(f'blocks = 1\n[topology]\nprocesses = 3\n[context]\npolicy = "shared"\n{LONG}'))
    root = _wait_for_load(place)
    root.kill()
    running.communicate()
    trial = place.trial()
    assert [p["end"] for p in trial["processes"]] == ["signal", "root-died", "root-died", "root-died"]
    (arm,) = place.summary()["arms"].values()
    assert balanced(arm)
    assert arm["ok"] > 0
    assert place.leftovers() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_run_seals_what_was_measured_and_ends_with_130(
    number: signal.Signals, place: Place, scenario: Callable[[str], Path]
) -> None:
    running = place.start(scenario(f"blocks = 2\n[topology]\nprocesses = 3\n{LONG}"))
    _wait_for_load(place)
    running.send_signal(number)
    _, err = running.communicate()
    assert running.returncode == 130, err
    (arm,) = place.summary()["arms"].values()
    assert balanced(arm)
    assert arm["ok"] > 0
    assert place.trial()["partial"] is True
    assert place.leftovers() == []


def test_a_killed_coordinator_leaves_its_rows_and_nothing_that_runs(
    place: Place, scenario: Callable[[str], Path], tmp_path: Path
) -> None:
    text = f"blocks = 1\n[topology]\nprocesses = 3\n{LONG}"
    running = place.start(scenario(text))
    _wait_for_load(place)
    running.kill()
    running.communicate()
    assert place.leftovers() == []
    assert list(place.out.glob("trials/*/operations-1.rows"))
    recorded = sum(claimed(path) for path in place.out.glob("trials/*/operations-*.rows"))
    reported = subprocess.run(
        program.command("lab", "report", "--no-page", str(place.out)), env=program.environment(), check=False
    )
    assert reported.returncode in (0, 1)
    summary = place.summary()
    (arm,) = summary["arms"].values()
    assert summary["partial"] is True
    assert balanced(arm)
    assert arm["ok"] > 0
    assert arm["verified"] == arm["ok"]
    (operations,) = place.out.glob("trials/*/operations.parquet")
    assert pq.read_metadata(operations).num_rows == recorded
    again = Place(tmp_path / "again")
    again.folder.mkdir()
    done = again.run(scenario(text.replace("duration_s = 30", "duration_s = 0.2")))
    assert done.returncode == 0, done.stderr


def test_a_wrong_signature_is_found_although_the_module_called_it_good(place: Place, mischief: Mischief) -> None:
    path = mischief.scenario("wrong-signature@C_Sign#9", f"[topology]\nprocesses = 2\n{RELOADED}{OPEN}")
    place.run(path, "--quiet", environment=mischief.environment)
    (arm,) = place.summary()["arms"].values()
    assert ("wrong-result", 1) in {(f["layer"], f["count"]) for f in arm["failures"]}
    assert arm["verified"] == arm["ok"] - 1
    assert arm["response_ms"]["p50"] is None  # an arm that signs wrongly has no latency


def test_a_full_disk_gives_one_clear_error_and_keeps_what_was_written(
    place: Place, scenario: Callable[[str], Path], small_disk: Path
) -> None:
    text = '[workload]\nkind = "null"\n[load]\nmode = "closed"\nwarmup_s = 0\nduration_s = 2\n'
    done = Place(small_disk).run(scenario(f"blocks = 2\n{text}"))
    assert done.returncode == 1
    assert "disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(small_disk.glob("run/trials/*/operations-*.rows"))


def test_a_disk_with_room_for_a_part_makes_the_run_invalid_and_no_module_to_blame(
    place: Place, scenario: Callable[[str], Path], small_disk: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,size=2m", small_disk], check=True)
    done = Place(small_disk).run(scenario(f"blocks = 1\n[topology]\nprocesses = 4\n{OPEN}"), "--quiet")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    said = done.stderr.lower()
    assert "not recorded" in said or "fault of the lab" in said or "disk is full" in said or "no space" in said


def test_a_parent_whose_device_fails_while_it_is_busy_goes_on_to_the_end(place: Place, mischief: Mischief) -> None:
    tables = f'[topology]\nprocesses = 2\nfork_point = "threads-busy"\n{RELOADED}{OPEN}'
    path = mischief.scenario("error@C_CloseSession#1", tables, who="root")
    done = place.run(path, "--quiet", "--set", "timeout_s=3", environment=mischief.environment)
    assert done.returncode == 0, done.stderr  # children of a busy parent may hang, which is a finding and no fault
    root = place.trial()["processes"][0]
    assert (root["end"], root["finished"]) == ("exit", True)
    (arm,) = place.summary()["arms"].values()
    assert "CKR_DEVICE_ERROR" in {failure["code"] for failure in arm["failures"]}


def test_no_worker_that_crashes_leaves_a_core_file(place: Place, mischief: Mischief) -> None:
    path = mischief.scenario("sigsegv@C_Sign#3", f"[topology]\nprocesses = 2\n{RELOADED}{OPEN}")
    command = f"ulimit -c unlimited; exec {shlex.join(map(str, program.command('lab', str(path))))} --quiet --out run"
    environment = {**program.environment(), **mischief.environment}
    subprocess.run(["bash", "-c", command], cwd=place.folder, env=environment, check=True)
    assert place.trial()["processes"][0]["end"] == "exit"
    assert "signal" in {p["end"] for p in place.trial()["processes"]}
    assert list(place.folder.rglob("core*")) == []


def test_a_report_of_a_run_that_is_still_going_leaves_the_running_trial_alone(
    place: Place, scenario: Callable[[str], Path]
) -> None:
    running = place.start(scenario(f"blocks = 1\n[topology]\nprocesses = 3\n{OPEN.replace('0.5', '15')}"), "--quiet")
    _wait_for_load(place)
    subprocess.run(
        program.command("lab", "report", "--no-page", str(place.out)), env=program.environment(), check=False
    )
    assert list(place.out.glob("trials/*/operations-1.rows"))
    _, err = running.communicate()
    assert running.returncode == 0, err
    (arm,) = place.summary()["arms"].values()
    assert arm["ok"] == arm["planned"] > 0


def _wait_for_load(place: Place) -> psutil.Process:
    """The trial root, once its three workers have all begun to write rows of the load."""
    until(lambda: [claimed(path) > 12 for path in place.out.glob("trials/0001-*/operations-[123].rows")] == [True] * 3)
    return root_of(place)


def root_of(place: Place) -> psutil.Process:
    (root,) = [p for p in place.processes() if "lab.worker.root" in " ".join(p.cmdline()) and _is_root(p)]
    return root


def claimed(path: Path) -> int:
    from lab.record.rowfile import read_header

    header = read_header(path)
    return 0 if header is None else int(header["claimed"])


def _is_root(process: psutil.Process) -> bool:
    parent = process.parent()
    return parent is not None and "lab.topology.keeper" in " ".join(parent.cmdline())


def test_the_record_of_a_trial_survives_its_round_trip_through_json(place: Place, mischief: Mischief) -> None:
    from lab.record.model import TrialRecord

    path = mischief.scenario("sigsegv@C_Sign#3", f"[topology]\nprocesses = 2\n{RELOADED}{OPEN}")
    place.run(path, "--quiet", environment=mischief.environment)
    (file,) = place.out.glob("trials/*/trial.json")
    data = json.loads(file.read_text())
    assert json.loads(json.dumps(TrialRecord.from_json(data).to_json())) == data
