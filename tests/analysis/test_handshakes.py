"""Facts of the handshakes of a trial: who joined, who was a stranger, what hosts cost."""

from __future__ import annotations

from typing import Any

import pytest

from lab.analysis.facts import TrialFacts
from lab.analysis.handshakes import HandshakeFacts, HostFacts
from lab.record.dtypes import TLS
from tests.handshake_trials import NO_SHARED_CIPHER, built, external, processes, trial
from tests.trial_builder import TrialBuilder, generator, record, worker


def handshakes(facts: TrialFacts) -> HandshakeFacts:
    assert facts.handshakes is not None
    return facts.handshakes


def test_accepted_connections_are_those_that_joined_and_strangers() -> None:
    found = handshakes(trial(10))
    assert (found.accepted, found.well, found.joined, found.join_share) == (11, 10, 10, 1.0)
    assert found.strangers == {("tls", "no shared cipher"): 1}
    assert found.handshakes == {1: 5, 2: 5}
    assert trial(10).invalid_because == ()


def test_a_trial_without_handshakes_has_no_such_facts() -> None:
    assert TrialBuilder().operation().examine(record(worker(1, 1))).handshakes is None


@pytest.mark.parametrize(("lost", "valid"), [(1, True), (2, False)])
def test_a_trial_where_under_999_of_1000_join_is_invalid_and_says_so(lost: int, valid: bool) -> None:
    builder = TrialBuilder()
    for number in range(1000):
        builder.handshake(1000 + number, at=10 * number, signs=False)
    for row in builder.rows_of_connections(1)[:lost]:
        row["random"] = 0
    facts = builder.examine(record(worker(1), generator(9, 1000)))
    assert (facts.invalid_because == ()) is valid
    assert valid or "998 of 1,000" in facts.invalid_because[0]


def test_failed_handshakes_need_no_partner() -> None:
    builder = TrialBuilder().handshake(1)
    builder.operation(9, 1, at=50, kind="handshake", outcome="fail", layer="network", code=110)
    builder.connection(9, "client", random=2, operation=1, opened=51, ended=60, outcome="fail")
    facts = builder.examine(record(worker(1), generator(9, 2)))
    assert (handshakes(facts).well, handshakes(facts).join_share, facts.invalid_because) == (1, 1.0, ())


def test_a_server_that_the_lab_did_not_start_has_no_rows_and_nothing_is_wrong() -> None:
    facts = external(10)
    assert facts.invalid_because == ()
    assert (handshakes(facts).join_share, handshakes(facts).accepted) == (None, 0)
    assert facts.outcomes.ok == 10


def test_both_ends_of_a_failure_are_told_each_by_its_name() -> None:
    builder = TrialBuilder()
    builder.operation(9, kind="handshake", outcome="fail", layer="tls", code=TLS["alert_received"] + 80)
    builder.connection(9, "client", random=1, operation=0, opened=1, ended=2, outcome="fail")
    failed: dict[str, Any] = {"outcome": "fail", "code": 0x5, "function": "C_Sign"}
    builder.connection(1, "server", random=1, opened=1, ended=2, **failed)
    facts = builder.examine(record(worker(1), generator(9, 1)))
    assert [(one.side, one.layer, one.code, one.functions) for one in facts.failures] == [
        ("server", "pkcs11", "CKR_GENERAL_ERROR", (("C_Sign", 1),)),
        ("client", "tls", "alert internal_error received", (("-", 1),)),
    ]
    assert [process for process, _ in facts.failures_by_process] == [9, 1]
    assert facts.outcomes.fail == 1


def test_what_both_ends_call_by_one_name_is_told_of_each() -> None:
    failed: dict[str, Any] = {"outcome": "fail", "layer": "network", "code": 110}
    builder = TrialBuilder().operation(9, kind="handshake", **failed)
    builder.connection(9, "client", random=1, operation=0, opened=1, ended=2, outcome="fail")
    builder.connection(1, "server", random=1, opened=1, ended=2, **failed)
    facts = builder.examine(record(worker(1), generator(9, 1)))
    assert [(one.side, one.code) for one in facts.failures] == [
        ("client", "timed out (ETIMEDOUT)"),
        ("server", "timed out (ETIMEDOUT)"),
    ]


def test_a_stranger_s_failure_is_no_failure_of_a_handshake() -> None:
    builder = TrialBuilder().handshake(1, at=1)
    builder.connection(1, "server", random=5, opened=1, ended=2, outcome="fail", layer="network", code=110)
    facts = builder.examine(record(worker(1), generator(9, 1)))
    assert facts.failures == ()
    assert facts.handshakes
    assert facts.handshakes.strangers == {("network", "timed out (ETIMEDOUT)"): 1}


def test_a_handshake_that_ended_well_for_its_client_only_is_counted_as_such() -> None:
    builder = TrialBuilder().handshake(1, at=1)
    builder.operation(9, 1, at=10, kind="handshake")
    builder.connection(9, "client", random=2, operation=1, opened=10, ended=11)
    builder.connection(1, "server", random=2, opened=10, ended=11, outcome="fail", code=0x5, function="C_Sign")
    facts = builder.examine(record(worker(1), generator(9, 2)))
    assert facts.handshakes
    assert (facts.handshakes.well, facts.handshakes.joined, facts.handshakes.client_only) == (2, 2, 1)
    assert [(one.side, one.code) for one in facts.failures] == [("server", "CKR_GENERAL_ERROR")]


def test_openssl_s_words_name_a_failure() -> None:
    builder = TrialBuilder().operation(9, kind="handshake", outcome="fail", layer="openssl", code=99)
    facts = builder.examine(record(worker(1), generator(9, 1), error_texts=((99, "no suitable key"),)))
    assert facts.failures[0].code == "no suitable key"


def test_a_wrong_signature_is_counted_once_and_takes_the_latency_away() -> None:
    builder = TrialBuilder().operation(9, kind="handshake", outcome="fail", layer="tls", code=TLS["bad_signature"])
    builder.mark_wrong()
    facts = builder.examine(record(worker(1), generator(9, 1)))
    assert [(one.layer, one.code, one.count) for one in facts.failures] == [("tls", "bad signature", 1)]
    assert facts.outcomes.wrong == 1


def test_the_cold_start_of_a_server_is_its_set_up_and_its_first_handshake_without_the_wait_between() -> None:
    facts = trial(10)
    assert facts.cold[1] == {"find_key": 4, "tls_context": 6, "first_operation": 4.5, "total": 15 + 4.5}


def test_a_server_that_inherited_its_context_pays_for_its_first_handshake_only() -> None:
    facts = TrialBuilder().handshake(1).examine(record(worker(1), worker(2), generator(9, 1)))
    assert facts.cold == {1: {"first_operation": 4.5, "total": 4.5}}


def test_a_resumed_handshake_is_no_first_one() -> None:
    builder = TrialBuilder().handshake(1, resumed=True, signs=False)
    facts = builder.examine(record(worker(1), generator(9, 1)))
    assert handshakes(facts).resumed == 1
    assert facts.cold == {}


def test_each_host_of_each_process_has_its_contexts_sessions_and_calls() -> None:
    builder = built(8)
    builder.operation(1, at=500, lasts=7, kind="tls_context", phase="setup", vhost=1)
    found = handshakes(builder.examine(record(*processes(8)))).hosts
    assert [(host.process, host.host) for host in found] == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert found[1] == HostFacts(1, 1, 2, 2.0, 3.0, 4.5, handshakes=2, sessions=1, token_calls=4)


def test_the_sessions_of_a_host_are_those_that_signed_for_it() -> None:
    builder = TrialBuilder().begin()
    for number, session in enumerate((5, 6, 6)):
        builder.handshake(10 + number, at=100 + 10 * number, session=session)
    builder.call("C_GetSessionInfo", at=101.8, until=101.9, session=99)
    (host,) = handshakes(builder.examine(record(worker(1), generator(9, 3)))).hosts
    assert (host.sessions, host.token_calls) == (2, 7)


def test_a_context_that_the_parent_made_is_the_parent_s() -> None:
    builder = TrialBuilder().operation(0, kind="tls_context", phase="setup", lasts=3).handshake(1)
    found = handshakes(builder.examine(record(worker(0, role="root"), worker(1), generator(9, 1)))).hosts
    assert [(host.process, host.tls_contexts) for host in found] == [(0, 1), (1, 0)]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"end": "never-started"}, "the load generator (process 9) never started"),
        ({"end": "signal", "status": 11}, "the load generator (process 9) crashed: SIGSEGV"),
        ({"end": "hang"}, "the load generator (process 9) hung"),
        ({"status": 3}, "the load generator (process 9) ended early: exit status 3"),
    ],
)
def test_a_generator_that_did_not_do_its_part_makes_the_trial_invalid(fields: dict[str, Any], told: str) -> None:
    facts = built(10).examine(record(*processes(10, **fields)))
    assert told in facts.invalid_because
    assert facts.rules["no-crash"].count == facts.rules["no-hang"].count == 0
    assert facts.processes.workers == 2
    assert facts.processes.failed == 0


def test_a_generator_is_no_worker() -> None:
    facts = trial(10)
    assert (facts.processes.started, facts.processes.workers, facts.processes.generators) == (2, 2, 1)
    assert facts.processes.generator_cpu_shares == (0.25,)
    assert 9 not in facts.cold


def test_two_clients_of_a_generator_do_not_have_one_number() -> None:
    builder = TrialBuilder()
    for client in (0, 1):
        builder.operation(9, 0, thread=client, kind="handshake")
    facts = builder.examine(record(generator(9, 2)))
    assert "process 9: 1 operations have the sequence number of another" in facts.invalid_because


def test_a_server_of_a_closed_loop_tells_service() -> None:
    facts = built(10).examine(record(*processes(10), open_loop=False))
    found = handshakes(facts).parts
    assert sum(part.mean_ms or 0 for part in found.values()) - (found["late"].mean_ms or 0) == pytest.approx(5)
    assert facts.figures()["where_ms.token.p50"] == 2.0
    assert facts.figures()["cold_ms.tls_context"] == 6.0


def test_servers_without_calls_are_told_too() -> None:
    builder = TrialBuilder().handshake(1, signs=False).handshake(2, at=20, signs=False, server=2)
    found = handshakes(builder.examine(record(worker(1), worker(2), generator(9, 2))))
    assert found.joined == 2
    assert found.parts["token"].mean_ms == 0
    assert found.parts["software"].mean_ms == 2.5


def test_a_stranger_whose_handshake_never_ended_is_named() -> None:
    builder = TrialBuilder().handshake(1)
    builder.connection(1, "server", random=2, opened=1, ended=0, outcome="info")
    builder.connection(1, "server", random=3, opened=1, ended=4, **NO_SHARED_CIPHER)
    found = handshakes(builder.examine(record(worker(1), generator(9, 1))))
    assert found.strangers == {(None, "never ended"): 1, ("tls", "no shared cipher"): 1}


def test_rows_are_joined_however_many_generators_there_are() -> None:
    builder = TrialBuilder()
    for number in range(20):
        builder.handshake(100 - number, at=10 * number, client=8 + number % 2, server=1 + number % 3, thread=number % 4)
    facts = builder.examine(record(worker(1), worker(2), worker(3), generator(8, 10), generator(9, 10)))
    assert handshakes(facts).joined == 20
    assert facts.invalid_because == ()
    assert facts.outcomes.measured_ok == 20


def test_a_key_through_the_library_of_a_bridge_is_a_step_of_its_own_and_the_key_of_its_host() -> None:
    builder = TrialBuilder().handshake(1, at=100)
    for host in (0, 1):
        builder.operation(1, at=10 * host, kind="open_key", phase="setup", vhost=host, lasts=4 - host)
    facts = builder.examine(record(worker(1), generator(9, 1)))
    assert facts.cold[1]["open_key"] == 7.0
    assert [host.find_key_ms for host in handshakes(facts).hosts] == [4.0, 3.0]
