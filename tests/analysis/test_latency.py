"""Response, service, lag, and the generator's own lateness."""

from __future__ import annotations

from lab.analysis.latency import Latency, of_process
from lab.analysis.quantiles import Distribution
from tests.trial_builder import NS_PER_MS, TrialBuilder


def values_ms(part: Distribution) -> list[float]:
    return [value / NS_PER_MS for value, count in zip(part.values_ns, part.counts, strict=True) for _ in range(count)]


def latency(builder: TrialBuilder, open_loop: bool = True) -> Latency:
    return of_process(builder.operations, open_loop)


def test_response_counts_from_the_intended_time_and_service_from_the_start() -> None:
    found = latency(TrialBuilder().operation(at=10, lag=3, lasts=2))
    assert (values_ms(found.response), values_ms(found.service), values_ms(found.lag)) == ([5], [2], [3])


def test_only_measured_operations_that_ended_well_have_a_latency() -> None:
    builder = TrialBuilder().operation(phase="warmup").operation(outcome="fail").operation(outcome="info")
    assert latency(builder.operation(lasts=7)).service.total == 1


def test_a_wait_behind_the_thread_s_previous_operation_is_the_server_s_and_not_the_generator_s() -> None:
    builder = TrialBuilder().operation(at=0, lasts=9).operation(at=1, lag=8, lasts=1).operation(at=20, lag=2)
    found = latency(builder)
    assert values_ms(found.lag) == [0, 2, 8]
    assert values_ms(found.generator_lag) == [0, 2]


def test_another_thread_s_operation_is_no_reason_to_wait() -> None:
    builder = TrialBuilder().operation(at=0, lasts=9, thread=0).operation(at=1, lag=4, thread=1)
    builder.operation(at=2, lag=7, lasts=1, thread=0)
    assert values_ms(latency(builder).generator_lag) == [0, 4]


def test_a_closed_loop_has_a_service_time_only() -> None:
    found = latency(TrialBuilder().operation(lasts=2), open_loop=False)
    assert values_ms(found.service) == [2]
    assert found.response.total == found.lag.total == found.generator_lag.total == 0
