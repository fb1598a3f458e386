"""Context policies: who owns the context after the fork. One object per trial, asked by the root and by each worker."""

from __future__ import annotations

from typing import Final, Protocol

from lab.native.loops import Drive
from lab.record.order import TrialOrder
from lab.worker.context import Context


class Policy(Protocol):
    """`before_fork` runs in the root, `after_fork` in each worker; both raise SetUpFailed."""

    owns_context: bool  # a worker finalises the context that it initialised itself, and no other
    owns_sessions: bool
    in_root: bool  # whether the root has a context at all

    def before_fork(self, context: Context, drive: Drive, threads: int) -> None: ...
    def after_fork(self, context: Context, drive: Drive, threads: int) -> None: ...


class SharedHandles:
    """Initialised, logged in and opened before the fork; workers use these handles as they are."""

    owns_context, owns_sessions, in_root = False, False, True

    def before_fork(self, context: Context, drive: Drive, threads: int) -> None:
        context.make(drive, threads)

    def after_fork(self, context: Context, drive: Drive, threads: int) -> None:
        context.adopt(drive)


class SharedContext(SharedHandles):
    """Initialised and logged in before the fork; workers open sessions of their own in the inherited context."""

    owns_sessions = True

    def after_fork(self, context: Context, drive: Drive, threads: int) -> None:
        context.reopen(drive, threads)


class PerProcess:
    """Nothing before the fork, each worker makes its own (option A of bug 42688)."""

    owns_context, owns_sessions, in_root = True, True, False

    def before_fork(self, context: Context, drive: Drive, threads: int) -> None:
        """Nothing: that is the policy."""

    def after_fork(self, context: Context, drive: Drive, threads: int) -> None:
        context.make(drive, threads)


class Broker(PerProcess):
    """As per-process, on p11-kit's client module: the token is another process's, and a login there is everybody's."""


class Reinit(SharedHandles):
    """Made before the fork, reloaded by each worker (option B of bug 42688)."""

    owns_context, owns_sessions = True, True

    def after_fork(self, context: Context, drive: Drive, threads: int) -> None:
        context.reload(drive, threads)


_POLICIES: Final[dict[tuple[str, str], Policy]] = {
    ("shared", "sessions"): SharedHandles(),
    ("shared", "context"): SharedContext(),
    ("per-process", "sessions"): PerProcess(),
    ("broker", "sessions"): Broker(),
    ("reinit", "sessions"): Reinit(),
}


def policy_of(order: TrialOrder) -> Policy:
    """The order's policy; the null workload has no context and nothing to share."""
    if order.context is None:
        return PerProcess()
    inherit = order.context.inherit if order.context.policy == "shared" else "sessions"
    return _POLICIES[order.context.policy, inherit]
