"""Handshakes sealed: client's and server's rows to columns, and what only the rows knew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from lab.record.begun import note_begun, recover
from lab.record.columns import FAIL, INFO, OK, RIGHT, UNVERIFIED, WRONG
from lab.record.dtypes import BEGUN, CALL, CONNECTION, EMPTY, ENDED, KIND, LAYER, OPERATION, PHASE, SIDE, TLS
from lab.record.model import TrialRecord
from lab.record.run import LEFT_AFTER_SEALING, Run, StoredTrial
from lab.record.seal import seal
from tests.row_files import rows, write_rows
from tests.trial_builder import generator, record, worker

HANDSHAKE, MEASURED = KIND["handshake"], PHASE["measured"]
OPENSSL_CODE = 20 << 23 | 68


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A trial with a server (process 1) and a generator (process 2), as its processes left it.

    The client's row at place 1 was never begun as an operation, that at place 3 never as a connection.
    """
    place = tmp_path / "trials" / "0001-a"
    place.mkdir(parents=True)
    (tmp_path / "scenario.json").write_text("{}")
    state = [ENDED, EMPTY, ENDED, BEGUN, ENDED]
    operations = rows(
        OPERATION,
        state=state,
        kind=[HANDSHAKE] * 5,
        phase=[MEASURED] * 5,
        sequence=[0, 1, 2, 3, 4],
        code=[0, 0, TLS["bad_signature"], 0, OPENSSL_CODE],
        layer=[0, 0, LAYER["tls"], 0, LAYER["openssl"]],
    )
    write_rows(place / "operations-2.rows", operations, pid=1002, process=2)
    client = rows(
        CONNECTION,
        state=[ENDED, BEGUN, ENDED, EMPTY, ENDED],
        side=[SIDE["client"]] * 5,
        random=[11, 12, 13, 0, 15],
        key_use=[71, 0, 73, 0, 0],
        code=operations["code"].tolist(),
        layer=operations["layer"].tolist(),
    )
    write_rows(place / "connections-2.rows", client, pid=1002, process=2, lost=3)
    server = rows(
        CONNECTION,
        state=[ENDED, BEGUN, ENDED],
        side=[SIDE["server"]] * 3,
        random=[11, 0, 13],
        key_use=[5, 0, 6],
        code=[0, 0, 7],
        layer=[0, 0, LAYER["openssl"]],
    )
    write_rows(place / "connections-1.rows", server, pid=1001, process=1, lost=1)
    return place


def with_calls(folder: Path) -> None:
    write_rows(folder / "calls-1001.rows", rows(CALL, state=[ENDED], function=[1]), pid=1001, process=0)


def trial(**fields: Any) -> TrialRecord:
    return record(worker(1), generator(2, 5), **fields)


def stored(folder: Path) -> StoredTrial:
    return Run.open(folder.parents[1]).trial(folder)


def test_a_client_s_connection_names_its_operation_whatever_was_never_begun(folder: Path) -> None:
    seal(folder, trial(), None)
    found = stored(folder)
    assert found.operations["sequence"].tolist() == [0, 2, 3, 4]
    assert found.connections["process"].tolist() == [1, 1, 1, 2, 2, 2, 2]
    assert found.connections["random"].tolist() == [11, 0, 13, 11, 12, 13, 15]
    assert found.connections["operation"].tolist() == [-1, -1, -1, 0, -1, 1, 3]
    assert found.connections["outcome"].tolist() == [OK, INFO, FAIL, OK, INFO, FAIL, FAIL]


def test_what_a_row_says_of_the_key_is_a_server_s_session_and_a_client_s_tag(folder: Path) -> None:
    seal(folder, trial(), None)
    found = stored(folder).connections
    rows = zip(*(found[name].tolist() for name in ("side", "session", "tag")), strict=True)
    client, server = SIDE["client"], SIDE["server"]
    assert sorted(row for row in rows if any(row[1:])) == [
        (client, 0, 71), (client, 0, 73), (server, 5, 0), (server, 6, 0),
    ]  # fmt: skip


def test_a_run_folder_of_an_earlier_version_has_no_tags(folder: Path) -> None:
    seal(folder, trial(), None)
    path = folder / "connections.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["tag"]), path)
    older = json.loads((folder / "trial.json").read_text())
    del older["tables"]  # nor hashes
    (folder / "trial.json").write_text(json.dumps(older))
    assert not stored(folder).connections["tag"].any()


def test_handshakes_are_verified_as_their_client_found(folder: Path) -> None:
    seal(folder, trial(), None)
    assert stored(folder).operations["verified"].tolist() == [RIGHT, WRONG, UNVERIFIED, UNVERIFIED]


def test_lost_connections_count_and_nothing_is_left_but_the_sealed_files(folder: Path) -> None:
    assert seal(folder, trial(), None).lost_rows == 4
    assert not [path for pattern in LEFT_AFTER_SEALING for path in folder.glob(pattern)]
    assert {path.name for path in folder.iterdir()} == {
        "calls.parquet", "connections.parquet", "operations.parquet", "trial.json",
    }  # fmt: skip


def test_a_trial_without_connections_has_no_such_file(folder: Path) -> None:
    for path in folder.glob("connections-*"):
        path.unlink()
    seal(folder, trial(), None)
    assert not (folder / "connections.parquet").exists()
    assert stored(folder).connections["random"].size == 0


def test_openssl_s_words_for_the_codes_in_the_rows_go_into_the_record(folder: Path) -> None:
    texts = {OPENSSL_CODE: "internal error"}
    assert seal(folder, trial(), None, texts.get).error_texts == ((OPENSSL_CODE, "internal error"),)
    assert stored(folder).record.error_texts == ((OPENSSL_CODE, "internal error"),)


def test_a_server_whose_handshakes_went_well_without_a_recorded_call_makes_the_trial_invalid(folder: Path) -> None:
    assert seal(folder, trial(), None).invalid_because == ("process 1: its calls were not recorded",)


def test_a_server_whose_calls_were_recorded_is_in_order(folder: Path) -> None:
    with_calls(folder)
    assert seal(folder, trial(), None).invalid_because == ()


def test_a_server_with_its_key_in_memory_makes_no_calls(folder: Path) -> None:
    assert seal(folder, trial(), None, key_in_token=False).invalid_because == ()


def test_a_resumed_handshake_needs_no_call(folder: Path) -> None:
    server = rows(CONNECTION, state=[ENDED], side=[SIDE["server"]], random=[11], resumed=[1])
    write_rows(folder / "connections-1.rows", server, pid=1001, process=1)
    assert seal(folder, trial(), None).invalid_because == ()


def test_in_a_closed_loop_generators_planned_what_they_began(folder: Path) -> None:
    sealed = seal(folder, trial(open_loop=False), None)
    assert [process.planned for process in sealed.processes] == [0, 4]


def test_in_an_open_loop_the_plan_stays(folder: Path) -> None:
    assert [process.planned for process in seal(folder, trial(), None).processes] == [0, 5]


@pytest.mark.parametrize("key_in_token", [True, False])
def test_a_trial_whose_coordinator_died_is_sealed_from_its_notes(folder: Path, key_in_token: bool) -> None:
    never = record(worker(1, end="never-started", pid=0), generator(2, 5, end="never-started", pid=0))
    note_begun(folder, never, None, key_in_token)
    found = recover(folder)
    assert found is not None
    assert [(process.pid, process.end) for process in found.processes] == [(1001, "cut-off"), (1002, "cut-off")]
    assert bool(found.invalid_because) is key_in_token
    assert stored(folder).connections["random"].size == 7


def test_notes_of_an_earlier_version_are_read(folder: Path) -> None:
    note_begun(folder, trial(), None)
    noted = json.loads((folder / "begun.json").read_text())
    del noted["key_in_token"]
    (folder / "begun.json").write_text(json.dumps(noted))
    assert recover(folder) is not None


def test_a_server_in_the_place_of_another_is_a_worker_after_the_coordinator_s_death_too(folder: Path) -> None:
    """Rows say who they are of: it is in no note, because nobody knew of it before."""
    replacement = rows(CONNECTION, state=[ENDED], side=[SIDE["server"]], random=[15], code=[0], layer=[0])
    write_rows(folder / "connections-3.rows", replacement, pid=998, process=3)
    for pid in (998, 1001, 997):
        write_rows(folder / f"calls-{pid}.rows", rows(CALL, state=[ENDED], object=[pid]), pid=pid, process=0)
    note_begun(folder, record(worker(1, end="never-started", pid=0), generator(2, 5, end="never-started", pid=0)), None)
    found = recover(folder)
    assert found is not None
    assert [(process.index, process.pid, process.role) for process in found.processes] == [
        (1, 1001, "worker"),
        (2, 1002, "generator"),
        (3, 998, "worker"),
        (4, 997, "other"),
    ]
    assert found.invalid_because == ()
    calls = stored(folder).calls
    assert dict(zip(calls["object"].tolist(), calls["process"].tolist(), strict=True)) == {1001: 1, 998: 3, 997: 4}
