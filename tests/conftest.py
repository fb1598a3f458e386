"""In what order, and in which parts, the workers of a run with `-n` get the tests.

A part stays together in one worker: a module, for its tests share runs of the lab. Two kinds of modules are cut
smaller, or the longest of them would run on alone at the end: in those of ONE_RUN_EACH every parameter has a run of its
own, and in those of NOTHING_SHARED every test. What takes long is begun first.
"""

from __future__ import annotations

import signal
from typing import Any, Final

import pytest

ONE_RUN_EACH: Final = ("tests/test_known_scenarios.py", "tests/test_shipped_scenarios.py")
NOTHING_SHARED: Final = (
    "tests/commands/test_probe.py",
    "tests/test_exit_status.py",
    "tests/test_handshake_refusals.py",
    "tests/test_readme.py",
    "tests/topology/real_servers/test_deaths.py",
    "tests/topology/test_handshake_modules.py",
    "tests/topology/test_handshake_secrets.py",
    "tests/topology/test_ways_servers_die.py",
    "tests/topology/test_ways_to_die.py",
    "tests/trace/test_ends.py",
    "tests/trace/test_programs.py",
)
LONGEST_FIRST: Final = (
    "tests/test_known_scenarios.py",
    "tests/test_shipped_scenarios.py",
    "tests/topology/test_brokers.py",
    "tests/tokens/test_tpm2.py",
    "tests/tokens/test_opencryptoki.py",
    "tests/topology/test_server_deaths.py",
    "tests/probe/test_ways_modules_break.py",
    "tests/probe/test_forks_of_softhsm.py",
    "tests/topology/test_workloads.py",
    "tests/topology/test_handshake_sizes.py",
    "tests/native/test_sanitizers.py",
    "tests/topology/test_handshake_faults.py",
    "tests/topology/real_servers/test_refused.py",
    "tests/topology/test_handshakes.py",
    "tests/topology/test_combinations.py",
    "tests/topology/test_worker_deaths.py",
    "tests/topology/test_handshake_rules.py",
    "tests/topology/test_sizes.py",
    "tests/topology/test_churn.py",
    "tests/probe/test_misbehaving_modules.py",
    "tests/topology/test_nss.py",
    "tests/topology/test_skipped_arms.py",
    "tests/native/test_broker_sanitized.py",
    "tests/topology/test_pins.py",
    "tests/native/test_tap_calls.py",
    "tests/trace/test_secrets.py",
    "tests/trace/test_httpd.py",
    "tests/topology/test_resumption.py",
    "tests/topology/test_closed_loops.py",
    "tests/topology/test_bridge_locking.py",
    "tests/native/test_serving_tokens.py",
    "tests/native/test_tap_failures.py",
    "tests/commands/test_calibrate.py",
    "tests/commands/test_tokens.py",
    "tests/test_docs.py",
    "tests/topology/test_real_servers.py",
    "tests/topology/real_servers/test_deaths.py",
    "tests/topology/test_ways_to_die.py",
    "tests/topology/test_ways_servers_die.py",
    "tests/topology/test_handshake_secrets.py",
    "tests/topology/test_handshake_modules.py",
    "tests/trace/test_ends.py",
    "tests/trace/test_programs.py",
    "tests/commands/test_probe.py",
    "tests/test_handshake_refusals.py",
    "tests/test_readme.py",
    "tests/test_exit_status.py",
)


def pytest_configure() -> None:
    """Runs in the background of a script are deaf to Ctrl-C, and so is all that they start; tests send it."""
    for number, action in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, action)


def part_of(nodeid: str) -> str:
    """The name of the part that a test belongs to."""
    module, _, test = nodeid.partition("::")
    if module in NOTHING_SHARED:
        return nodeid
    if module in ONE_RUN_EACH and "[" in test:
        return f"{module}::{test[test.index('[') :]}"
    return module


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Only in workers: who runs the tests of a few modules gets them as they are written."""
    if hasattr(config, "workerinput"):
        place = {module: number for number, module in enumerate(LONGEST_FIRST)}
        items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(place)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """For --dist loadscope, whose scopes are the parts here, in the order of the tests."""
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Parts(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return part_of(nodeid)

    config.option.loadscopereorder = False  # not by their number of tests
    return Parts(config, log)
