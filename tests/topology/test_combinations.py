"""Every combination of topology, context policy, session policy and driver that must work does, and is on record."""

from __future__ import annotations

from itertools import pairwise, product

import pytest

from tests.combined import LOAD_PHASES, Sealed, Tables, run
from tests.runs import balanced

PAUSE = '[load]\nmode = "open"\narrivals = "paced"\nrate_hz = 120\nwarmup_s = 0.05\nduration_s = 0.1\n'
NO_RESET = "[token]\nreset_on_fork = false\n"
TWO = '[topology]\nkind = "prefork"\nprocesses = 2\n'
SHAPES = {"prefork": (2, 1), "worker": (2, 2), "threads": (1, 2), "spawn": (2, 2)}
POLICIES: dict[str, dict[str, str]] = {
    "handles": {"policy": "shared", "inherit": "sessions"},
    "own-sessions": {"policy": "shared", "inherit": "context"},
    "per-process": {"policy": "per-process"},
    "reinit": {"policy": "reinit"},
}
SESSIONS = ("per-thread", "per-process", "pool", "per-operation")
POOL = 3


def _context(policy: str, session: str, **more: str) -> dict[str, str | int]:
    return {**POLICIES[policy], "session": session, **({"pool_size": POOL} if session == "pool" else {}), **more}


def _topologies() -> dict[str, Tables]:
    arms: dict[str, Tables] = {}
    for (kind, (processes, threads)), policy, session in product(SHAPES.items(), POLICIES, SESSIONS):
        if kind in ("prefork", "worker") or policy == "per-process":
            topology = {"kind": kind, "processes": processes, "threads": threads}
            arms[f"{kind} {policy} {session}"] = {"topology": topology, "context": _context(policy, session)}
    return arms


def _drivers() -> dict[str, Tables]:
    arms: dict[str, Tables] = {}
    for driver, workload, policy, session in product(
        ("native", "python-pkcs11"), ("sign", "random", "session-churn"), POLICIES, SESSIONS
    ):
        if (driver, workload) == ("python-pkcs11", "sign") or (session == "per-thread" and policy != "own-sessions"):
            arms[f"{driver} {workload} {policy} {session}"] = {
                "context": _context(policy, session, locking="none"),
                "workload": {"kind": workload, "driver": driver},
            }
    return arms


TOPOLOGIES, DRIVERS = _topologies(), _drivers()


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sealed]:
    folder = tmp_path_factory.mktemp("combinations")
    return {
        **run(folder / "topologies", NO_RESET + PAUSE, TOPOLOGIES),
        **run(folder / "drivers", NO_RESET + PAUSE + TWO, DRIVERS),
    }


@pytest.fixture
def one(arms: dict[str, Sealed], request: pytest.FixtureRequest) -> Sealed:
    return arms[request.param]


every = pytest.mark.parametrize("one", [*TOPOLOGIES, *DRIVERS], indirect=True)
native_signatures = pytest.mark.parametrize(
    "one", [*TOPOLOGIES, *(name for name in DRIVERS if name.startswith("native sign"))], indirect=True
)


@every
def test_everything_planned_ends_well_in_workers_of_their_own(one: Sealed) -> None:
    arm, topology = one.arm, one.arm["topology"]
    assert balanced(arm)
    assert (arm["ok"], arm["verified"]) == (18, 18 if arm["workload"]["kind"] == "sign" else 0)
    assert arm["failures"] == []
    pids = {process["pid"] for process in one.trial["processes"]}
    assert len(one.workers) == topology["processes"] == arm["processes"]["started"]
    assert len(pids) == topology["processes"] + 1
    for worker in one.workers:
        assert set(one.calls_of(worker["index"]).pid) == {worker["pid"]}
        assert one.operations_of(worker["index"], LOAD_PHASES).tid.nunique() == topology["threads"]


@every
def test_each_process_opens_the_sessions_of_its_policy_and_closes_them(one: Sealed) -> None:
    arm = one.arm
    kept = {"per-thread": arm["topology"]["threads"], "per-process": 1, "pool": POOL, "per-operation": 1}[
        arm["session"]
    ]
    churns = arm["session"] == "per-operation" or arm["workload"]["kind"] == "session-churn"
    root_has, workers_have = (
        arm["context"] != "per-process",
        arm["context"] != "shared" or arm["inherit"] == "context",
    )
    for process in one.trial["processes"]:
        own = kept if (workers_have if process["index"] else root_has) else 0
        operations = len(one.operations_of(process["index"])) if churns else 0
        opened = one.calls_of(process["index"], "C_OpenSession")
        assert set(opened.ckr) <= {"CKR_OK"}
        assert len(opened) == own + operations
    sessions = arm["sessions"]
    assert sessions["opened"] == sessions["closed"] == (one.calls.function == "C_OpenSession").sum()
    assert sessions["leaked"] == 0
    assert arm["rules"]["sessions-closed"]["verdict"] == "conforms"


@every
def test_who_initialises_and_with_which_locking_is_on_record(one: Sealed) -> None:
    arm = one.arm
    initialised = one.calls[one.calls.function == "C_Initialize"]
    assert set(initialised.locking) == {"os" if arm["locking"] == "os" else "null_argument"}
    assert set(initialised.ckr) == {"CKR_OK"}
    workers = {worker["index"] for worker in one.workers}
    expected = {"shared": {0}, "per-process": workers, "reinit": {0, *workers}}[arm["context"]]
    assert sorted(initialised.process) == sorted(expected)
    verdict = arm["rules"]["initialize-per-process"]["verdict"]
    assert verdict == ("violates" if arm["context"] == "shared" else "conforms")


@native_signatures
def test_each_signature_is_one_row_of_an_operation_and_one_of_a_call_in_the_same_process(one: Sealed) -> None:
    for process in one.trial["processes"]:
        index = process["index"]
        load = one.operations_of(index, LOAD_PHASES)
        beside = one.operations_of(index, ("first", "parent_check"))
        assert len(load) == process["planned"]
        for function in ("C_SignInit", "C_Sign"):
            assert len(one.calls_of(index, function)) == len(load) + len(beside)
    assert sum(process["planned"] for process in one.trial["processes"]) == one.arm["planned"]


@every
def test_only_a_parent_with_a_context_signs_before_and_after_its_children(one: Sealed) -> None:
    phases = list(one.operations_of(0).phase)
    assert phases == (["first", "parent_check"] if one.arm["context"] != "per-process" else [])
    expected = "not-exercised" if one.arm["context"] == "per-process" else "conforms"
    assert one.arm["rules"]["parent-unharmed"]["verdict"] == expected
    for worker in one.workers:
        assert (one.operations_of(worker["index"]).phase == "first").sum() == 1


@pytest.mark.parametrize("one", [name for name in TOPOLOGIES if name.startswith("spawn")], indirect=True)
def test_a_spawned_worker_begins_with_an_initialisation_of_its_own_and_inherits_no_call(one: Sealed) -> None:
    assert one.calls_of(0).empty
    for worker in one.workers:
        functions = one.calls_of(worker["index"]).function
        assert functions[~functions.str.startswith("C_Get")].iloc[0] == "C_Initialize"


@pytest.mark.parametrize("one", ["prefork handles per-thread", "worker handles pool"], indirect=True)
def test_a_forked_worker_signs_with_what_it_never_obtained(one: Sealed) -> None:
    for worker in one.workers:
        assert set(one.calls_of(worker["index"]).function) == {"C_SignInit", "C_Sign"}
    assert one.arm["rules"]["own-handles"]["verdict"] == "violates"


@pytest.mark.parametrize("one", [name for name in TOPOLOGIES if "worker per-process" in name], indirect=True)
def test_staggered_set_ups_do_not_overlap(one: Sealed) -> None:
    spans = []
    for worker in one.workers:
        rows = one.operations[
            (one.operations.process == worker["index"]) & one.operations.phase.isin(["setup", "first"])
        ]
        spans.append((rows.started_ns.min(), rows.ended_ns.max()))
    assert all(earlier[1] < later[0] for earlier, later in pairwise(sorted(spans)))


@pytest.mark.parametrize("one", [name for name in DRIVERS if name.startswith("python-pkcs11 sign")], indirect=True)
def test_python_pkcs11_takes_three_calls_to_sign(one: Sealed) -> None:
    for process in one.trial["processes"]:
        operations = len(one.operations_of(process["index"]))
        assert len(one.calls_of(process["index"], "C_SignInit")) == operations
        assert len(one.calls_of(process["index"], "C_Sign")) == 2 * operations


@pytest.mark.parametrize("one", [name for name in DRIVERS if "random" in name], indirect=True)
def test_no_two_processes_draw_the_same_random_bytes(one: Sealed) -> None:
    drawn = one.calls[one.calls.function == "C_GenerateRandom"]
    assert len(drawn) == sum(len(one.operations_of(process["index"])) for process in one.trial["processes"])
    assert drawn.tag.is_unique
    assert (drawn.tag != 0).all()
