"""script/run and script/test on made-up machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.machines import BRIDGE_TOOLS, PARTS, Machine, machine

__all__ = ["machine"]


def test_who_may_not_install_is_told_exactly_what_to_run_and_nothing_is_changed(machine: Machine) -> None:
    machine.without("pkg-config", "eu-stack")

    ended = machine.run("x.toml")

    assert ended.returncode == 1
    install = "apt-get install -y --no-install-recommends pkg-config libp11-kit-dev libssl-dev elfutils"
    assert f"    sudo apt-get update && sudo {install}\n" in ended.stderr
    assert ended.stdout == ""
    assert machine.log == []
    assert not (machine.checkout / ".venv").exists()


@pytest.mark.parametrize(
    ("tool", "package"),
    [("cc", "gcc libc6-dev"), ("eu-stack", "elfutils"), ("pkg-config", "pkg-config libp11-kit-dev libssl-dev")],
)
def test_a_missing_tool_is_named_by_its_package(tool: str, package: str, machine: Machine) -> None:
    machine.without(tool)

    assert f"--no-install-recommends {package}\n" in machine.run().stderr


def test_missing_softhsm_and_venv_are_named_by_their_packages(machine: Machine) -> None:
    said = machine.run(LAB_SOFTHSM="/nowhere/libsofthsm2.so", NO_VENV="1").stderr

    assert "--no-install-recommends softhsm2 python3-venv\n" in said


def test_a_system_without_apt_get_gets_the_same_list_even_as_root(machine: Machine) -> None:
    machine.without("eu-stack", "apt-get")
    machine.user(0)

    ended = machine.run()

    assert ended.returncode == 1
    assert "missing, and this user may not install them: elfutils" in ended.stderr


def test_a_system_without_apt_get_that_has_the_parts_just_runs(machine: Machine) -> None:
    machine.without("apt-get")

    assert machine.run("x.toml").stdout == f"lab in {machine.checkout}:x.toml\n"


def test_root_installs_what_is_missing_and_no_more(machine: Machine) -> None:
    machine.without("eu-stack")
    machine.user(0)

    ended = machine.run("x.toml")

    assert ended.returncode == 0, ended.stderr
    assert machine.log[:2] == ["apt-get update", "apt-get install -y --no-install-recommends elfutils"]


def test_a_user_with_sudo_installs_through_it(machine: Machine) -> None:
    machine.without("eu-stack")
    machine.tool("sudo", '#!/bin/bash\n[ "$2" = true ] || echo "sudo" >>"$LOG"\n[ "$1" = -n ] && exec "${@:2}"\n')

    assert machine.run().returncode == 0
    assert machine.log[:4] == ["sudo", "apt-get update", "sudo", "apt-get install -y --no-install-recommends elfutils"]


def test_a_failing_apt_get_says_what_to_install_by_hand(machine: Machine) -> None:
    machine.without("eu-stack")
    machine.user(0)

    ended = machine.run(APT_FAILS="1")

    assert ended.returncode == 1
    assert "To install by hand: apt-get install -y --no-install-recommends elfutils" in ended.stderr


def test_an_old_python_is_an_error_with_the_version_that_is_needed(machine: Machine) -> None:
    ended = machine.run(PYTHON_IS_OLD="1")

    assert ended.returncode == 1
    assert "Python 3.11 or later is missing" in ended.stderr


def test_the_second_time_nothing_is_made_or_installed(machine: Machine) -> None:
    machine.run("x.toml")
    first = machine.log
    ended = machine.run("x.toml", "--quiet")

    assert [line.split()[0] for line in first] == ["python3", "pip"]
    assert machine.log == first
    assert (ended.stdout, ended.stderr) == (f"lab in {machine.checkout}:x.toml --quiet\n", "")


def test_a_changed_source_is_installed_again_into_the_same_environment(machine: Machine) -> None:
    machine.run()
    (machine.checkout / "lab/__init__.py").write_text("changed = True\n")
    machine.run()
    machine.run()

    assert [line.split()[0] for line in machine.log] == ["python3", "pip", "pip"]


def test_python_s_caches_are_no_change_of_source(machine: Machine) -> None:
    machine.run()
    (machine.checkout / "lab/__pycache__").mkdir()
    (machine.checkout / "lab/__pycache__/x.pyc").write_bytes(b"x")
    machine.run()

    assert len(machine.log) == 2


def test_a_failed_installation_is_tried_again(machine: Machine) -> None:
    failed = machine.run(PIP="1")
    worked = machine.run()

    assert failed.returncode != 0
    assert "lab in" not in failed.stdout
    assert worked.returncode == 0
    assert [line.split()[0] for line in machine.log] == ["python3", "pip", "pip"]


def test_the_tests_bring_their_extra_and_serve_a_run_as_well(machine: Machine) -> None:
    machine.run(script="test")
    machine.run()

    assert [line for line in machine.log if line.startswith("pip")] == [f"pip {machine.checkout}[test]"]


def test_the_lab_runs_where_the_user_is_and_alone_writes_to_stdout(machine: Machine, tmp_path: Path) -> None:
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()

    ended = machine.run("a b.toml", cwd=elsewhere)

    assert ended.stdout == f"lab in {elsewhere}:a b.toml\n"
    assert "noise of pip" in ended.stderr


@pytest.mark.parametrize("tool", BRIDGE_TOOLS)
def test_the_tests_name_a_part_that_only_they_need(tool: str, machine: Machine) -> None:
    machine.without(tool)
    done = machine.run(script="test")
    assert done.returncode == 1
    assert f"apt-get install -y --no-install-recommends {BRIDGE_TOOLS[tool]}" in done.stderr
    assert machine.run().returncode == 0  # a run needs none of them


@pytest.mark.parametrize(("variable", "package"), PARTS.items())
def test_the_tests_name_a_server_or_a_library_that_is_missing(variable: str, package: str, machine: Machine) -> None:
    done = machine.run(script="test", **{variable: "/nowhere/x"})
    assert done.returncode == 1
    assert f"apt-get install -y --no-install-recommends {package}" in done.stderr
