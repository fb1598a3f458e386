"""A traced trial's facts, from calls built by hand."""

from __future__ import annotations

from lab.analysis.arms import arms_of
from lab.analysis.facts import TrialFacts
from lab.analysis.summary import summarise
from lab.record.model import ProcessRecord
from tests.trial_builder import ALREADY_INITIALIZED, NOT_INITIALIZED, TrialBuilder, record, worker

ARM = {
    "name": "a", "token": {"kind": "softhsm"}, "topology": None, "context": None, "load": {"mode": "closed"},
    "workload": {"kind": "trace", "key": None, "mechanism": None},
}  # fmt: skip


def _process(index: int, **fields: object) -> ProcessRecord:
    return worker(index, role="root" if index == 0 else "other", program="server", pss_kib=None, **fields)


def _examined(builder: TrialBuilder, *processes: ProcessRecord) -> TrialFacts:
    return builder.examine(record(*processes, open_loop=False, duration_ns=0, traced=True))


def test_a_trace_without_operations_and_workers_is_valid() -> None:
    facts = _examined(TrialBuilder().begin(0).end(0), _process(0))
    assert facts.invalid_because == ()
    assert [(p.calls, p.opened, p.leaked, p.logins, p.finalised) for p in facts.traced] == [(6, 1, 0, 1, 1)]


def test_how_a_process_came_by_its_context_is_told_from_its_calls() -> None:
    builder = TrialBuilder().begin(0, locking="os")
    builder.call("C_Sign", 1, session=5, ckr=NOT_INITIALIZED)
    builder.call("C_Initialize", 1, locking="null_argument")
    builder.call("C_Initialize", 2, locking="no_flags", ckr=ALREADY_INITIALIZED, tap_changed=True)
    root, lazy, told, silent = _examined(builder, *(_process(n) for n in range(4))).traced
    assert (root.inherited, [each.locking for each in root.initialised]) == (0, ["os"])
    assert (lazy.inherited, [(i.locking, i.answer) for i in lazy.initialised]) == (1, [("null_argument", "CKR_OK")])
    assert [(i.answer, i.changed_by_tap) for i in told.initialised] == [("CKR_CRYPTOKI_ALREADY_INITIALIZED", True)]
    assert (silent.calls, silent.program) == (0, "server")


def test_errors_are_counted_by_function_and_are_failures_of_their_process() -> None:
    builder = TrialBuilder().begin(0)
    builder.call("C_Sign", 0, session=5, ckr=NOT_INITIALIZED).call("C_SignInit", 0, session=5, ckr=NOT_INITIALIZED)
    facts = _examined(builder, _process(0))
    assert facts.traced[0].errors == {"C_Sign": 1, "C_SignInit": 1}
    (failure,) = facts.failures
    assert (failure.layer, failure.code, failure.count) == ("pkcs11", "CKR_CRYPTOKI_NOT_INITIALIZED", 2)


def test_a_process_that_ended_unseen_leaks_without_a_word_on_its_end() -> None:
    facts = _examined(TrialBuilder().begin(0).begin(1), _process(0), _process(1, end="unknown"))
    finding = facts.rules["sessions-closed"]
    assert finding.count == 2
    assert finding.note == ""


def test_the_summary_has_the_processes_and_every_function_with_its_time() -> None:
    builder = TrialBuilder().begin(0)
    builder.call("C_Sign", 0, session=5, at=20, until=22).call("C_Sign", 0, session=5, at=30, returned=False)
    facts = _examined(builder, _process(0, end="signal", status=11, finished=False))
    summary = summarise("run", "trace", "", 0, arms_of({"arms": [ARM]}), {}, [facts])
    assert summary["valid"], summary["invalid_because"]
    arm = summary["arms"]["a"]
    assert arm["topology"]["kind"] is arm["throughput_hz"] is None
    (process,) = arm["traced"]["processes"]
    assert (process["unfinished"], process["end"], process["status"]) == ("C_Sign", "signal", 11)
    sign = arm["traced"]["calls"]["C_Sign"]
    assert sign == {"count": 1, "errors": 0, "unfinished": 1, "p50": 2.0, "p99": None, "max": 2.0, "total": 2.0}
    assert arm["rules"]["no-crash"]["verdict"] == "violates"
