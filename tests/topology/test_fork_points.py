"""What a child gets of a parent that is busy at the fork, and of a module that notices the fork or does not."""

from __future__ import annotations

from itertools import product

import pytest

from tests.combined import LOAD_PHASES, Sealed, Tables, run
from tests.runs import balanced

BASE = (
    'timeout_s = 3\n[topology]\nkind = "prefork"\nprocesses = 3\n'
    '[load]\nmode = "open"\narrivals = "paced"\nrate_hz = 120\nwarmup_s = 0\nduration_s = 0.1\n'
)
HANDLES = {"policy": "shared", "inherit": "sessions"}
OWN_SESSIONS = {"policy": "shared", "inherit": "context"}
SESSIONS = ("per-thread", "per-process", "pool")


def _mid_operation() -> dict[str, Tables]:
    arms: dict[str, Tables] = {}
    for (name, policy), session in product({"handles": HANDLES, "reinit": {"policy": "reinit"}}.items(), SESSIONS):
        arms[f"mid {name} {session}"] = {
            "token": {"reset_on_fork": False},
            "topology": {"fork_point": "mid-operation"},
            "context": {**policy, "session": session},
        }
    return arms


MID_OPERATION = _mid_operation()
BUSY: dict[str, Tables] = {
    f"busy {driver}": {
        "topology": {"fork_point": "threads-busy", "busy_threads": threads},
        "context": {"policy": "reinit"},
        "workload": {"driver": driver},
    }
    for driver, threads in (("native", 4), ("python-pkcs11", 1))
}
RESET: dict[str, Tables] = {
    f"{'reset' if reset else 'kept'} {driver} {policy['policy']} {policy.get('inherit', '')}".strip(): {
        "token": {"reset_on_fork": reset},
        "context": policy,
        "workload": {"driver": driver},
    }
    for reset, driver, policy in product(
        (True, False), ("native", "python-pkcs11"), (HANDLES, OWN_SESSIONS, {"policy": "reinit"})
    )
}
HERD: dict[str, Tables] = {
    f"herd {kind} {name}": {
        "topology": {"kind": kind, "processes": 3, "threads": 1, "start": "herd"},
        "context": policy,
    }
    for kind, name, policy in (
        ("prefork", "handles", HANDLES),
        ("prefork", "own-sessions", OWN_SESSIONS),
        ("prefork", "per-process", {"policy": "per-process"}),
        ("spawn", "per-process", {"policy": "per-process"}),
    )
}


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sealed]:
    return run(tmp_path_factory.mktemp("fork") / "points", BASE, {**MID_OPERATION, **BUSY, **RESET, **HERD})


@pytest.fixture
def one(arms: dict[str, Sealed], request: pytest.FixtureRequest) -> Sealed:
    return arms[request.param]


@pytest.mark.parametrize("one", [name for name in MID_OPERATION if "handles" in name], indirect=True)
def test_a_child_s_first_signature_ends_the_operation_that_its_parent_began(one: Sealed) -> None:
    assert one.arm["failures"] == []
    for worker in one.workers:
        calls = one.calls_of(worker["index"])
        assert (calls.function.iloc[0], calls.ckr.iloc[0]) == ("C_Sign", "CKR_OK")
        begun, ended = (one.calls_of(worker["index"], name) for name in ("C_SignInit", "C_Sign"))
        assert len(ended) - len(begun) == 1
        assert (one.operations_of(worker["index"]).verified == 1).all()


@pytest.mark.parametrize("one", MID_OPERATION, indirect=True)
def test_the_parent_ends_its_own_operation_once_its_children_are_gone(one: Sealed) -> None:
    last = one.operations[one.operations.phase != "teardown"]
    children_end = last[last.process > 0].ended_ns.max()
    begun, ended = (one.calls_of(0, name) for name in ("C_SignInit", "C_Sign"))
    assert list(begun.ckr) == list(ended.ckr) == ["CKR_OK"] * 2
    assert begun.started_ns.iloc[-1] < one.trial["released_ns"] < children_end < ended.started_ns.iloc[-1]
    assert one.arm["rules"]["parent-unharmed"]["verdict"] == "conforms"
    assert one.arm["ok"] == one.arm["verified"] == one.arm["planned"] == 12


@pytest.mark.parametrize("one", BUSY, indirect=True)
def test_threads_of_a_busy_parent_sign_while_it_forks(one: Sealed) -> None:
    assert balanced(one.arm)
    busy = one.operations[one.operations.phase == "background"]
    busy = busy[busy.kind == "sign"]
    assert set(busy.process) == {0}
    assert busy.thread.nunique() == {"busy native": 4, "busy python-pkcs11": 1}[one.trial["arm"]]
    assert busy.started_ns.min() < one.calls[one.calls.process > 0].started_ns.min() < busy.ended_ns.max()
    assert one.root["finished"]


@pytest.mark.parametrize(
    "one", [name for name in RESET if name.startswith("reset") and "shared" in name], indirect=True
)
def test_a_module_that_notices_the_fork_refuses_every_child_of_a_shared_context(one: Sealed) -> None:
    arm = one.arm
    assert (arm["ok"], arm["fail"]) == (0, arm["planned"])
    assert {failure["code"] for failure in arm["failures"]} == {"CKR_CRYPTOKI_NOT_INITIALIZED"}
    for worker in one.workers:
        assert set(one.calls_of(worker["index"]).ckr) <= {"CKR_CRYPTOKI_NOT_INITIALIZED"}
        assert (one.operations_of(worker["index"], LOAD_PHASES).outcome == 1).sum() == worker["planned"] > 0
    assert arm["rules"]["initialize-per-process"]["verdict"] == "violates"


@pytest.mark.parametrize("one", [name for name in RESET if name.startswith("kept") and "shared" in name], indirect=True)
def test_a_module_that_does_not_notice_signs_and_the_rules_tell(one: Sealed) -> None:
    assert one.arm["ok"] == one.arm["verified"] == one.arm["planned"] == 12
    assert one.arm["rules"]["initialize-per-process"]["verdict"] == "violates"


@pytest.mark.parametrize("one", [name for name in RESET if "reinit" in name], indirect=True)
def test_a_child_that_reloads_goes_on_whether_or_not_there_was_something_to_finalise(one: Sealed) -> None:
    assert one.arm["ok"] == one.arm["verified"] == one.arm["planned"] == 12
    noticed = one.trial["arm"].startswith("reset")
    for worker in one.workers:
        calls = one.calls_of(worker["index"], "C_Finalize", "C_Initialize")
        answers = list(zip(calls.function, calls.ckr, strict=True))
        finalised = ("C_Finalize", "CKR_CRYPTOKI_NOT_INITIALIZED" if noticed else "CKR_OK")
        assert answers == [finalised, ("C_Initialize", "CKR_OK"), ("C_Finalize", "CKR_OK")]
    assert one.arm["rules"]["parent-unharmed"]["verdict"] == "conforms"


@pytest.mark.parametrize("one", HERD, indirect=True)
def test_a_herd_loses_no_planned_operation(one: Sealed) -> None:
    """How many of a herd find no token is luck; where nobody logs in, all must sign."""
    assert balanced(one.arm)
    assert len(one.workers) == one.arm["processes"]["started"] == 3
    if one.arm["context"] == "shared":
        assert one.arm["ok"] == one.arm["planned"]
    for worker in one.workers:
        assert len(one.operations_of(worker["index"], LOAD_PHASES)) == worker["planned"]
