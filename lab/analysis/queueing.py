"""What a queue with one server does, by theory: the known answers that recorded waiting times are held against.

Lindley, The theory of queues with a single server, 1952: the wait of a customer is that of the one before, plus that
one's service, less the time between their arrivals, and never below zero. The mean wait of Poisson arrivals is
Pollaczek's and Khinchine's (Kleinrock, Queueing Systems, volume 1, 1975, chapter 5); with a constant service it is that
of M/D/1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def waits_ns(intended_ns: NDArray[np.int64], service_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """The wait of each of a queue's operations, by Lindley's recursion; the first finds the queue empty.

    Both are 1-d and of one length: when each was due, ascending, and how long it took. With X_n = S_n - A_n, the
    recursion W_(n+1) = max(0, W_n + X_n) has the closed form W_n = U_n - min(U_0 .. U_n), where U sums X up to n; in
    integers it is exact. Raises ValueError where the lengths differ.
    """
    if intended_ns.shape != service_ns.shape:
        raise ValueError(f"{intended_ns.size} arrivals and {service_ns.size} services")
    if not intended_ns.size:
        return np.empty(0, np.int64)
    walk = np.concatenate([[0], np.cumsum(service_ns[:-1] - np.diff(intended_ns))]).astype(np.int64)
    waits: NDArray[np.int64] = walk - np.minimum.accumulate(walk)
    return waits


def mean_wait(rate_hz: float, mean_s: float, square_s2: float) -> float:
    """Mean wait in s of an M/G/1 queue: Poisson arrivals, services of this mean and mean square.

    Raises ValueError where the queue has no mean wait: more is offered than can be served.
    """
    load = rate_hz * mean_s
    if not 0 <= load < 1:
        raise ValueError(f"a load of {load:.3g} has no mean wait")
    return rate_hz * square_s2 / (2 * (1 - load))


def constant_mean_wait(load: float, service_s: float) -> float:
    """Mean wait in s of an M/D/1 queue: load * service / (2 (1 - load)). Raises ValueError as mean_wait()."""
    if service_s <= 0:
        raise ValueError(f"a service of {service_s:.3g} s")
    return mean_wait(load / service_s, service_s, service_s**2)
