"""What summary.json says of handshakes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lab.analysis.arms import arms_of
from lab.analysis.facts import TrialFacts
from lab.analysis.summary import summarise
from lab.record import columns
from tests.handshake_trials import ARM, EXTERNAL, built, external, processes, trial
from tests.trial_builder import TrialBuilder, generator, record, steady, worker


def arm(given: dict[str, Any], *facts: TrialFacts) -> dict[str, Any]:
    found = summarise("run", "scenario", "", 7, arms_of({"arms": [given]}), {}, facts)
    json.dumps(found, allow_nan=False)
    only: dict[str, Any] = found["arms"][given["name"]]
    return only


def test_an_arm_of_handshakes_says_who_joined_over_all_its_trials() -> None:
    found = arm(ARM, trial(10), trial(20, number=2, block=2))
    assert found["connections"] == {
        "accepted": 32,
        "joined": 30,
        "client_only": 0,
        "join_share": 1.0,
        "resumed": 0,
        "signed": {"found": 0, "of": 0, "same_process": 0},
        "strangers": [{"layer": "tls", "code": "no shared cipher", "count": 2}],
        "processes": {"handshakes_min": 5, "handshakes_max": 10},
    }
    assert found["generator"] == {"processes": 1, "cpu_share": 0.25}


def test_signatures_that_found_their_call_are_counted_over_all_trials() -> None:
    def tagged(number: int) -> TrialFacts:
        builder = TrialBuilder().handshake(1, tag=71).handshake(2, at=10, tag=72, signs=False).call("C_Sign", 2, tag=72)
        return builder.handshake(3, at=20, signs=False).examine(
            record(worker(1), worker(2), generator(9, 3), number=number, block=number)
        )

    assert arm(ARM, tagged(1), tagged(2))["connections"]["signed"] == {"found": 4, "of": 4, "same_process": 2}


def test_the_means_of_the_parts_add_up_to_the_mean_response() -> None:
    found = arm(ARM, trial(300))
    assert list(found["where_ms"]) == ["late", "accept", "waiting", "software", "token", "back"]
    assert found["where_ms"]["token"] == {"mean": 2.0, "p50": 2.0, "p99": 2.0}
    assert sum(part["mean"] for part in found["where_ms"].values()) == pytest.approx(6)  # lag is 0, 1, 2 in turns
    assert arm(ARM, trial(30))["where_ms"]["token"]["p99"] is None


def test_hosts_are_counted_and_their_costs_are_medians() -> None:
    assert arm(ARM, trial(10), trial(10, number=2, block=2))["hosts"] == {
        "count": 2,
        "tls_contexts": 8,
        "cold_ms": {"find_key": 2.0, "tls_context": 3.0, "first_handshake": 4.5},
        "sessions_p50": 1,
    }


def test_settings_of_tls_are_told() -> None:
    assert arm(ARM, trial(10))["tls"] == {
        "version": "1.3",
        "key_exchange": "ecdhe",
        "vhosts": 2,
        "vhost_by": "ip",
        "resumption": "off",
        "connections_per_child": None,
    }


def test_of_a_server_that_the_lab_did_not_start_only_the_client_s_side_is_known() -> None:
    found = arm(EXTERNAL, external(10))
    assert found["topology"] == {"kind": None, "processes": 0, "threads": 0}
    assert (found["token"], found["context"], found["session"], found["locking"]) == (None, None, None, None)
    assert found["connections"] == {
        "accepted": None,
        "joined": None,
        "client_only": None,
        "join_share": None,
        "resumed": 0,
        "signed": None,
        "strangers": [],
        "processes": {"handshakes_min": None, "handshakes_max": None},
    }
    assert found["where_ms"] is None
    assert found["ok"] == 10


def test_an_arm_without_handshakes_has_none_of_it() -> None:
    sign = ARM | {"workload": {"kind": "sign", "key": "ec-p256", "mechanism": "ECDSA"}, "tls": None}
    found = arm(sign, steady(record(worker(1, 3)), 3))
    assert [found[key] for key in ("connections", "where_ms", "generator", "hosts", "tls")] == [None] * 5


def test_a_share_of_the_processor_that_was_not_told_is_missing() -> None:
    facts = built(10).examine(record(*processes(10, cpu_ns=None, busy_ns=None)))
    assert arm(ARM, facts)["generator"]["cpu_share"] is None


def test_times_of_an_invalid_trial_are_not_told_but_its_counts_are() -> None:
    found = arm(ARM, trial(10, lost_rows=1))
    assert found["where_ms"] is None
    assert found["connections"]["joined"] == 10
    assert found["hosts"]["cold_ms"]["tls_context"] is None


def test_an_arm_with_a_wrong_signature_has_no_latency_and_no_parts() -> None:
    builder = built(10).operation(9, 10, at=500, kind="handshake", outcome="fail", verified=columns.WRONG)
    builder.mark_wrong()
    found = arm(ARM, builder.examine(record(*processes(11))))
    assert found["wrong"] == 1
    assert found["where_ms"] is None
