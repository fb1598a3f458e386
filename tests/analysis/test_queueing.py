"""Lindley's recursion and the mean waits of theory, against hand counts, textbooks and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lab.analysis.queueing import constant_mean_wait, mean_wait, waits_ns

SERVICE_NS = 1_000_000


def ns(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def test_a_queue_counted_by_hand() -> None:
    due, service = ns(0, 2, 3, 20, 21), ns(5, 4, 1, 1, 1)
    assert waits_ns(due, service).tolist() == [0, 3, 6, 0, 0]


def test_the_closed_form_is_the_recursion_to_the_last_nanosecond() -> None:
    random = np.random.default_rng(1)
    due = np.sort(random.integers(0, 10**12, 5_000))
    service = random.integers(0, 4 * 10**8, due.size)
    wait, by_hand = 0, []
    for place in range(due.size):
        by_hand.append(wait)
        if place + 1 < due.size:
            wait = max(0, wait + int(service[place]) - int(due[place + 1] - due[place]))
    assert waits_ns(due, service).tolist() == by_hand


def test_no_arrivals_have_no_waits_and_unequal_columns_are_refused() -> None:
    assert waits_ns(ns(), ns()).size == 0
    with pytest.raises(ValueError, match="2 arrivals and 1 services"):
        waits_ns(ns(1, 2), ns(1))


@pytest.mark.parametrize("load", [0.1, 0.5, 0.9])
def test_exponential_services_give_the_mean_wait_of_the_textbooks_m_m_1(load: float) -> None:
    mean_s = 0.01
    assert mean_wait(load / mean_s, mean_s, 2 * mean_s**2) == pytest.approx(load / (1 - load) * mean_s)


def test_a_constant_service_waits_half_as_long_as_an_exponential_one() -> None:
    assert constant_mean_wait(0.5, 0.02) == pytest.approx(0.01)
    assert constant_mean_wait(0.8, 1.0) == pytest.approx(mean_wait(0.8, 1.0, 2.0) / 2)


@pytest.mark.parametrize("load", [1.0, 1.5, -0.1])
def test_a_queue_without_a_mean_wait_is_refused(load: float) -> None:
    with pytest.raises(ValueError, match="no mean wait"):
        constant_mean_wait(load, 1.0)


def test_a_service_that_is_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="a service of 0"):
        constant_mean_wait(0.5, 0.0)


def test_twenty_thousand_operations_are_within_five_percent_of_m_d_1_in_about_19_of_20_draws() -> None:
    random = np.random.default_rng(42688)
    known_ns = constant_mean_wait(0.5, SERVICE_NS / 1e9) * 1e9
    near = []
    for _ in range(200):
        due = np.cumsum(random.exponential(2 * SERVICE_NS, 20_000)).astype(np.int64)
        drawn = waits_ns(due, np.full(due.size, SERVICE_NS, np.int64)).mean()
        near.append(abs(drawn / known_ns - 1) <= 0.05)
    assert 0.90 <= np.mean(near) <= 0.99
