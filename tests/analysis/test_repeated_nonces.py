"""What is said of repeated nonces: who was affected, whether the key was computed, and the evidence of the rule."""

from __future__ import annotations

from typing import Any

import pytest

from lab.analysis import nonces
from lab.analysis.calls import Origin
from lab.analysis.expectations import unmet
from lab.analysis.facts import TrialFacts
from lab.analysis.nonces import NonceFacts
from lab.analysis.rules.finding import judged
from lab.record.model import NoncesRecord, ServerRecord, Signing, TrialRecord
from tests.trial_builder import NS_PER_MS, TrialBuilder, generator, record, worker

ONE, OTHER = Signing(2, 5 * NS_PER_MS, 0, 17, 0), Signing(3, 8 * NS_PER_MS, 0, 4, 0)


def found(**changes: Any) -> NoncesRecord:
    given: dict[str, Any] = {
        "signatures": 1_200, "repeated": 1_100, "processes": (2, 3), "keys": 1, "keys_proven": 1, "first": (ONE, OTHER),
    }  # fmt: skip
    return NoncesRecord(**{**given, **changes})


def root() -> Any:
    return worker(0, role="root")


def trial(nonces_found: NoncesRecord | None, *processes: Any, **fields: Any) -> TrialRecord:
    return record(*(processes or (root(), *map(worker, (1, 2, 3)))), nonces=nonces_found, **fields)


def told(trial_record: TrialRecord) -> NonceFacts:
    facts = nonces.of_trial(trial_record, Origin(0, "release"))
    assert facts is not None
    return facts


def test_a_proof_is_told_in_plain_words() -> None:
    facts = told(trial(found()))
    assert (facts.repeated, facts.processes, facts.of, facts.proven) == (1_100, 2, 3, True)
    assert facts.evidence == (
        "the private key of this arm was computed from two signatures: process 2 (operation 17, 5.000 ms after release)"
        " and process 3 (operation 4, 8.000 ms after release) signed different data with one nonce; 2 of 3 children"
        " affected; 1,100 of 1,200 signatures share a nonce with another"
    )


def test_the_parent_is_no_child_and_is_told_apart() -> None:
    facts = told(trial(found(processes=(0, 2))))
    assert (facts.processes, facts.of) == (1, 3)
    assert "; 1 of 3 children and the parent affected; " in facts.evidence


def test_a_process_that_repeats_its_own_nonce_is_named_once() -> None:
    evidence = told(trial(found(processes=(2,), first=(ONE, Signing(2, 9 * NS_PER_MS, 0, 20, 0))))).evidence
    assert "process 2 (operation 17, 5.000 ms after release) and again 9.000 ms after release signed" in evidence


def test_of_handshakes_it_is_said_that_anybody_can_make_them() -> None:
    evidence = told(trial(found(), worker(2), worker(3), generator(9))).evidence
    assert "computed from two handshakes that anybody can make: process 2 (handshake 17, " in evidence


def test_of_several_keys_it_is_said_how_many() -> None:
    evidence = told(trial(found(keys=3, keys_proven=2), worker(2), worker(3), generator(9))).evidence
    assert evidence.startswith(
        "2 of 3 private keys whose nonces repeat were computed, each from two handshakes that anybody can make: "
    )


def test_without_a_proof_it_is_a_suspicion() -> None:
    facts = told(trial(found(keys_proven=0)))
    assert not facts.proven
    assert facts.evidence.startswith("suspected, for no private key could be computed: process 2 ")
    assert "signed different data and have one r; 2 of 3 children affected" in facts.evidence


def test_of_a_server_that_is_not_the_lab_s_no_process_is_named() -> None:
    first = (Signing(None, 5 * NS_PER_MS, 0, 0, 0), Signing(None, 6 * NS_PER_MS, 0, 1, 0))
    facts = told(trial(found(processes=(), first=first), generator(9)))
    assert (facts.processes, facts.of) == (0, 0)
    assert "the server (handshake 0, 5.000 ms after release) and the server (handshake 1, " in facts.evidence
    assert "children" not in facts.evidence


def test_a_real_server_s_master_serves_where_it_has_no_workers() -> None:
    server = ServerRecord("stunnel", "5", None, 0)
    facts = told(trial(found(processes=(1,)), worker(1, role="master"), generator(9), server=server))
    assert (facts.processes, facts.of) == (1, 1)


def test_children_that_were_never_born_are_not_counted() -> None:
    assert told(trial(found(), worker(2), worker(3), worker(4, end="never-started"))).of == 2


def test_without_repeated_nonces_there_is_no_evidence() -> None:
    facts = told(trial(NoncesRecord(1_200, 0, (), 0, 0, None)))
    assert facts == NonceFacts(0, 1_200, 0, 3, False, "")


def test_where_there_was_nothing_to_look_at_nothing_is_told() -> None:
    assert nonces.of_trial(trial(None), Origin(0, "release")) is None
    assert nonces.to_json([(1, None), (2, None)]) is None


# the rule


def repeating(record_of_trial: TrialRecord, *, same: bool = True) -> TrialFacts:
    """Two children that sign different data, with one tag or two."""
    builder = TrialBuilder()
    for process in (2, 3):
        builder.begin(process)
        builder.sign(process, tag=77 if same else 70 + process, data=process)
        builder.end(process)
    return builder.examine(record_of_trial)


def test_the_rule_s_evidence_begins_with_the_proof_and_its_count_is_that_of_the_calls() -> None:
    finding = repeating(trial(found())).rules["unique-randomness"]
    assert (finding.count, finding.processes) == (2, 2)
    assert finding.evidence.startswith("the private key of this arm was computed from two signatures: ")
    assert "; in the calls: process 2 (pid 1002), thread 1002: C_Sign " in finding.evidence
    assert "trial 1, the private key of this arm was computed" in judged([(1, finding)])["evidence"]


def test_what_is_only_suspected_leaves_the_rule_as_it_is() -> None:
    for nothing in (None, found(keys_proven=0)):
        finding = repeating(trial(nothing)).rules["unique-randomness"]
        assert "signed different data with the same nonce; 2 of 2 processes are affected" in finding.evidence


def test_a_proof_counts_where_the_calls_show_nothing() -> None:
    finding = repeating(trial(found()), same=False).rules["unique-randomness"]
    assert (finding.count, finding.processes) == (1_100, 2)
    assert finding.evidence.startswith("the private key of this arm was computed")


# the summary


def test_trials_are_added_up_and_the_evidence_is_that_of_the_first_proof() -> None:
    suspected = told(trial(found(keys_proven=0)))
    proven = told(trial(found()))
    said = nonces.to_json([(1, None), (2, suspected), (3, proven)])
    assert said is not None
    assert {name: said[name] for name in ("signatures", "repeated", "processes", "of", "proven")} == {
        "signatures": 2_400, "repeated": 2_200, "processes": 4, "of": 6, "proven": True,
    }  # fmt: skip
    assert said["evidence"].startswith("trial 3, the private key")


@pytest.mark.parametrize(("path", "wanted"), [("proven", True), ("repeated", "> 0"), ("processes", 2), ("of", 3)])
def test_a_scenario_may_expect_it(path: str, wanted: Any) -> None:
    summary = {"arms": {"a": {"nonces": nonces.to_json([(1, told(trial(found())))])}}}
    assert unmet(summary, {f"arms.a.nonces.{path}": wanted}) == []
    assert unmet(summary, {f"arms.a.nonces.{path}": "no"})
