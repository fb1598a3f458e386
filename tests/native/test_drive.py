"""The operation loops: what they count, in which order, with which data, and what they leave when they cannot go on."""

from __future__ import annotations

import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lab.errors import LabFault
from lab.native.loops import Drive, Work, wait_until
from lab.record.dtypes import BEGUN, ENDED, KIND, PHASE
from lab.record.names import FUNCTION_NUMBER
from lab.record.verify import expand
from tests.native.playing import FOREVER_NS, SECOND_NS, FakeModule, Player, load

CAPACITY = 1 << 20
OUTPUT_BYTES = 64
DEVICE_ERROR, SLOT_ID_INVALID, FUNCTION_FAILED = 0x30, 0x3, 0x6
PAUSE_NS = 1_000_000
"""What a closed loop waits after a failure (drive.c)."""

Make = Callable[..., Player]


@pytest.fixture
def make(built: Path, tmp_path: Path) -> Make:
    """Makes the drive of one process, in front of a fake module."""
    module = FakeModule(built / "fake.so", tmp_path)

    def one(capacity: int = CAPACITY, output_bytes: int = OUTPUT_BYTES, process: int = 1) -> Player:
        return Player(tmp_path, Drive(tmp_path, process, capacity, output_bytes), module)

    return one


@pytest.mark.parametrize("kind", ["null", "sign", "random", "session_churn"])
def test_an_open_loop_with_23_arrivals_leaves_23_rows(make: Make, kind: str) -> None:
    player = make()
    player.sign(kind=kind)

    assert player.open_loop(range(0, 23_000, 1000)) == [23]

    file = player.file()
    assert (len(file.rows), file.lost) == (23, 0)
    assert file.rows["sequence"].tolist() == list(range(23))
    assert set(file.rows["kind"]) == {KIND[kind]}
    assert set(file.rows["state"]) == {ENDED}
    assert set(file.rows["code"]) == {0}


@pytest.mark.parametrize("kind", ["null", "sign", "random", "session_churn"])
def test_a_closed_loop_leaves_as_many_rows_as_it_says(make: Make, kind: str) -> None:
    player = make()
    player.sign(kind=kind)

    begun, duration_ns = 0, 2_000_000
    while not begun:  # on a busy machine the time may be over before the thread runs, and then there is no row
        (begun,) = player.closed_loop(duration_ns)
        duration_ns *= 10

    assert player.rows()["sequence"].tolist() == list(range(begun))


def test_every_signature_is_one_pair_of_calls(make: Make) -> None:
    player = make()
    player.sign()
    player.open_loop([0] * 23)

    assert (player.module.calls("C_SignInit"), player.module.calls("C_Sign")) == (23, 23)


def test_threads_of_one_drive_leave_rows_that_name_them(make: Make) -> None:
    player = make()
    player.sign(sessions=(1, 2, 3))

    assert player.open_loop([0] * 23, threads=3) == [23, 23, 23]

    rows = player.rows()
    assert len(rows) == 69
    for thread in range(3):
        mine = rows[rows["thread"] == thread]
        assert mine["sequence"].tolist() == list(range(23))
        assert set(mine["session"]) == {thread + 1}
        assert len(set(mine["tid"])) == 1
    assert len(set(rows["tid"])) == 3


def test_a_refused_open_loop_has_each_arrival_with_the_code_and_function_of_the_set_up(make: Make) -> None:
    player = make()
    player.sign()
    refusal = (SLOT_ID_INVALID, FUNCTION_NUMBER["C_OpenSession"])

    assert player.open_loop([0] * 23, refusal=refusal) == [23]

    rows = player.rows()
    assert len(rows) == 23
    assert {(int(row["code"]), int(row["function"])) for row in rows} == {refusal}
    assert player.module.calls("C_SignInit") == 0


def test_a_refused_closed_loop_has_one_row_a_thread(make: Make) -> None:
    player = make()
    player.sign()

    assert player.closed_loop(FOREVER_NS, threads=3, refusal=(SLOT_ID_INVALID, 0)) == [1, 1, 1]
    assert player.rows()["code"].tolist() == [SLOT_ID_INVALID] * 3


def test_an_open_loop_labels_what_was_to_begin_before_the_end_of_the_warm_up(make: Make) -> None:
    player = make()
    player.sign()
    arrivals = [0, 999, 1000, 1001]

    player.open_loop(arrivals, warmup_ns=1000)

    assert player.rows()["phase"].tolist() == [PHASE[one] for one in ("warmup", "warmup", "measured", "measured")]


def test_a_closed_loop_warms_up_first_and_then_measures(make: Make) -> None:
    player = make()
    player.sign()
    release_ns = time.monotonic_ns()

    player.closed_loop(30_000_000, release_ns=release_ns, warmup_ns=30_000_000)

    rows = player.rows()
    phases = rows["phase"].tolist()
    assert phases == sorted(phases)
    assert set(phases) == {PHASE["warmup"], PHASE["measured"]}
    assert (rows["started_ns"][rows["phase"] == PHASE["measured"]] >= release_ns + 30_000_000).all()


def test_times_are_in_order_and_open_arrivals_keep_what_was_intended(make: Make) -> None:
    player = make()
    player.sign()
    arrivals = np.arange(23) * 20_000
    release_ns = time.monotonic_ns()

    player.open_loop(arrivals.tolist(), release_ns=release_ns)

    rows = player.rows()
    assert (rows["intended_ns"] == release_ns + arrivals).all()
    assert (rows["started_ns"] >= rows["intended_ns"]).all()
    assert (rows["ended_ns"] >= rows["started_ns"]).all()
    assert (rows["started_ns"][1:] >= rows["ended_ns"][:-1]).all()


@pytest.mark.parametrize("kind", ["null", "sign"])
def test_a_closed_loop_intends_what_it_starts(make: Make, kind: str) -> None:
    player = make()
    player.sign(kind=kind)
    duration_ns = 2_000_000
    while not player.closed_loop(duration_ns)[0]:  # as above
        duration_ns *= 10

    rows = player.rows()
    assert len(rows)
    assert (rows["intended_ns"] == rows["started_ns"]).all()
    assert (rows["ended_ns"] >= rows["started_ns"]).all()


def test_arrivals_that_did_not_begin_before_the_end_of_waiting_are_shed(make: Make) -> None:
    player = make()
    player.sign()
    release_ns = time.monotonic_ns()
    give_up_ns = release_ns + SECOND_NS // 2
    player.module.on("C_Sign", lambda: wait_until(give_up_ns) if player.module.calls("C_Sign") == 3 else None)

    assert player.open_loop([0] * 23, release_ns=release_ns, give_up_ns=give_up_ns) == [3]
    assert len(player.rows()) == 3


def test_an_arrival_long_after_the_end_of_waiting_is_not_waited_for(make: Make) -> None:
    player = make()
    player.sign()
    release_ns = time.monotonic_ns()

    assert player.open_loop([FOREVER_NS // 2] * 3, release_ns=release_ns, give_up_ns=release_ns + 1000) == [0]
    assert len(player.rows()) == 0


def test_what_is_signed_is_what_verification_expands(make: Make) -> None:
    player = make()
    player.module.set("echo", 1)
    player.sign(digest_bytes=32, prefix=b"DigestInfo", seed=42688)
    player.open_loop([0] * 23, threads=2)

    rows, outputs = player.rows(), player.outputs()
    assert len(rows) == 46
    assert set(rows["length"]) == {OUTPUT_BYTES}
    data = expand(rows["input"], 32)
    kept = outputs[: len(rows)]
    assert kept[:, :10].tobytes() == b"DigestInfo" * 46
    assert (kept[:, 10:42] == data).all()


@pytest.mark.parametrize("length", [1, 7, 8, 20, 48, 64])
def test_c_and_numpy_expand_alike(make: Make, length: int) -> None:
    drive = make().drive
    rows = [drive.begin("sign", "measured", thread, sequence) for thread in range(3) for sequence in range(5)]
    player = Player(make(process=2).folder, drive, make(process=3).module)

    assert [drive.data(row, length) for row in rows] == [
        one.tobytes() for one in expand(player.rows()["input"], length)
    ]


def test_no_two_operations_of_a_trial_sign_the_same_data(make: Make) -> None:
    inputs = []
    for process in (1, 2):
        player = make(process=process)
        player.sign(seed=42688, sessions=(1, 2))
        player.open_loop(range(0, 100, 10), threads=2, warmup_ns=50)
        player.drive.once(0, "first")
        inputs += player.rows()["input"].tolist()

    assert len(inputs) == 42
    assert len(set(inputs)) == 42


def test_the_data_follow_from_seed_and_place(make: Make) -> None:
    def inputs(process: int, seed: int) -> list[int]:
        player = make(process=process)
        player.sign(seed=seed)
        player.open_loop([0] * 5)
        found: list[int] = player.rows()["input"].tolist()
        (player.folder / f"operations-{process}.rows").unlink()
        (player.folder / f"outputs-{process}.rows").unlink()
        return found

    assert inputs(1, seed=1) == inputs(1, seed=1)
    assert not set(inputs(1, seed=1)) & set(inputs(1, seed=2))


def test_signatures_are_for_their_owner_alone(make: Make) -> None:
    player = make(process=3)
    player.sign(seed=1)
    player.open_loop([0])

    assert stat.S_IMODE((player.folder / "outputs-3.rows").stat().st_mode) == 0o600


@pytest.mark.parametrize("function", ["C_SignInit", "C_Sign"])
def test_the_function_that_failed_is_on_record(make: Make, function: str) -> None:
    player = make()
    player.module.answer(function, DEVICE_ERROR)
    player.sign()
    player.open_loop([0] * 3)

    rows = player.rows()
    assert set(rows["code"]) == {DEVICE_ERROR}
    assert set(rows["function"]) == {FUNCTION_NUMBER[function]}
    assert set(rows["length"]) == {0}
    assert set(rows["state"]) == {ENDED}


def test_a_random_workload_draws_the_bytes_it_is_told(make: Make) -> None:
    player = make()
    player.sign(kind="random", digest_bytes=48)
    player.open_loop([0] * 3)
    player.module.answer("C_GenerateRandom", FUNCTION_FAILED)
    player.open_loop([0])

    rows = player.rows()
    assert rows["length"].tolist() == [48, 48, 48, 0]
    assert rows["code"].tolist() == [0, 0, 0, FUNCTION_FAILED]
    assert rows["function"][3] == FUNCTION_NUMBER["C_GenerateRandom"]
    assert player.outputs()[0, :48].tolist() == [(i * 7 + 1) % 256 for i in range(48)]


def test_a_closed_loop_rests_after_a_failure(make: Make) -> None:
    player = make()
    player.sign()
    (well,) = player.closed_loop(20 * PAUSE_NS)
    player.module.answer("C_Sign", DEVICE_ERROR)
    (badly,) = player.closed_loop(20 * PAUSE_NS)

    failed = player.rows()[well:]
    assert len(failed) == badly
    assert badly <= 20 + 1  # however fast the machine is
    assert badly < well
    assert (failed["started_ns"][1:] - failed["ended_ns"][:-1] >= PAUSE_NS).all()


def test_an_open_loop_does_not_rest_because_its_arrivals_are_due(make: Make) -> None:
    player = make()
    player.module.answer("C_Sign", DEVICE_ERROR)
    player.sign()

    assert player.open_loop([0] * 23) == [23]

    rows = player.rows()
    assert (rows["started_ns"][1:] - rows["ended_ns"][:-1]).min() < PAUSE_NS


def test_stop_ends_a_closed_loop_that_has_no_end(make: Make) -> None:
    player = make()
    player.sign()
    busy = threading.Event()
    player.module.on("C_Sign", busy.set)
    forever = load(duration_ns=FOREVER_NS, background=True)
    thread = threading.Thread(target=player.drive.run, args=(0, forever), daemon=True)
    thread.start()
    assert busy.wait(60)
    player.drive.stop()
    thread.join(60)

    assert not thread.is_alive()
    assert set(player.rows()["phase"]) == {PHASE["background"]}
    assert set(player.rows()["state"]) == {ENDED}


@pytest.mark.parametrize("loop", ["open", "closed"])
def test_a_loop_without_room_for_a_row_ends_and_says_what_is_lost(make: Make, loop: str) -> None:
    player = make(capacity=10)
    player.sign()
    begun = player.open_loop([0] * 23) if loop == "open" else player.closed_loop(FOREVER_NS)

    file = player.file()
    assert begun == [10]
    assert (len(file.rows), file.lost) == (10, 1)
    assert player.module.calls("C_Sign") == 10  # what cannot be recorded is not done


def test_outputs_longer_than_their_place_are_not_kept(make: Make) -> None:
    player = make(output_bytes=OUTPUT_BYTES - 1)
    player.sign()
    player.open_loop([0])

    assert player.rows()["length"].tolist() == [0]


def test_python_s_own_steps_are_rows_of_the_same_file(make: Make) -> None:
    drive = make().drive
    row = drive.begin("login", "setup", intended_ns=5)
    unfinished = drive.begin("find_key", "setup")
    drive.end(row, DEVICE_ERROR, FUNCTION_NUMBER["C_Login"], "python", session=9, output=b"abc")
    player = Player(make(process=2).folder, drive, make(process=3).module)

    rows = player.rows()
    assert (row, unfinished) == (0, 1)
    assert rows["state"].tolist() == [ENDED, BEGUN]
    assert rows["kind"].tolist() == [KIND["login"], KIND["find_key"]]
    assert [int(rows[0][name]) for name in ("intended_ns", "code", "session", "length")] == [5, DEVICE_ERROR, 9, 3]
    assert player.outputs()[0, :3].tobytes() == b"abc"


def test_once_gives_the_code_and_takes_up_what_was_begun_before_a_fork(make: Make) -> None:
    player = make()
    player.sign()

    assert player.drive.once(0, "first", resume=True) == 0
    assert (player.module.calls("C_SignInit"), player.module.calls("C_Sign")) == (0, 1)

    player.module.answer("C_SignInit", DEVICE_ERROR)
    assert player.drive.once(0, "parent_check", sequence=4) == DEVICE_ERROR
    assert player.rows()["phase"].tolist() == [PHASE["first"], PHASE["parent_check"]]
    assert player.rows()["sequence"].tolist() == [0, 4]


def test_a_folder_that_takes_no_files_is_a_fault_of_the_lab(tmp_path: Path) -> None:
    with pytest.raises(LabFault, match=r"operations-1\.rows: No such file"):
        Drive(tmp_path / "missing", 1, CAPACITY, OUTPUT_BYTES)


def test_a_file_of_rows_is_never_written_over(make: Make) -> None:
    make()
    with pytest.raises(LabFault, match="File exists"):
        make()


def test_data_that_do_not_fit_are_refused(make: Make) -> None:
    with pytest.raises(LabFault, match="too long"):
        make().drive.set(Work("sign", digest_bytes=257))
