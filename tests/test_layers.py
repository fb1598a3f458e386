"""Imports go one way (DESIGN section 3), and the pure packages stay pure. Only sources are read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "lab").rglob("*.py"))

# package -> packages of the lab that it may import; EVERYBODY_S are for all, and a package may import itself
DIRECTIONS: dict[str, set[str]] = {
    "errors": set(),
    "program": set(),
    "record": set(),
    "native": {"record"},
    "process": {"record"},
    "scenario": set(),
    "plan": {"scenario"},
    "tokens": {"native", "process", "record", "scenario"},
    "worker": {"native", "process", "record"},
    "servers": {"native", "record", "scenario", "tokens"},
    "topology": {"native", "plan", "process", "record", "scenario", "servers", "tokens"},
    "trace": {"native", "record", "tokens", "topology"},
    "probe": {"native", "process", "record", "tokens", "topology"},
    "analysis": {"record"},
    "calibration": {"analysis", "native", "plan", "process", "record", "scenario", "tokens", "topology"},
    "report": {"analysis", "probe", "record", "scenario"},
}
EVERYBODY_S = {"errors", "program"}
ENTRY_POINTS = {"commands", "__main__", ""}  # they put the parts together, so they may import all of them

PURE = {"scenario", "plan", "analysis"}
IMPURE_MODULES = {
    "asyncio",
    "ctypes",
    "datetime",
    "glob",
    "io",
    "logging",
    "mmap",
    "multiprocessing",
    "os",
    "psutil",
    "pyarrow",
    "random",
    "secrets",
    "shutil",
    "socket",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
    "urllib",
}
IMPURE_FUNCTIONS = {"open", "input", "print"}
IMPURE_METHODS = {  # of pathlib.Path, whose class itself is only a name
    "absolute",
    "cwd",
    "exists",
    "expanduser",
    "glob",
    "home",
    "is_dir",
    "is_file",
    "iterdir",
    "mkdir",
    "read_bytes",
    "read_text",
    "rglob",
    "stat",
    "unlink",
    "write_bytes",
    "write_text",
}

# module that is imported -> modules (and all below them) that may import it
RESERVED = {
    "pkcs11": {"lab.worker", "lab.tokens.probe"},
    "pandas": {"lab.report"},
    "lab.native.cryptoki": {"lab.native", "lab.worker", "lab.tokens", "lab.probe", "lab.calibration.tap_turns"},
}
NAMELESS = {"common", "helper", "helpers", "misc", "util", "utils"}
MOST_LINES = 400


def name_of(file: Path) -> str:
    """Dotted name of a module's file."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.Module, module: str, is_package: bool) -> Iterator[str]:
    """Dotted names of all that a source imports, at any depth; `from a import b` is a.b, which may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.split(".")[: len(module.split(".")) - node.level + is_package]
                base = ".".join([*above, base]).rstrip(".")
            yield from (f"{base}.{alias.name}" for alias in node.names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def complaints(module: str, source: str, is_package: bool = False) -> list[str]:
    """What is wrong with one source of the lab, one sentence each."""
    tree = ast.parse(source)
    package = module.split(".")[1] if "." in module else ""
    found = []
    for imported in imports(tree, module, is_package):
        for reserved, users in RESERVED.items():
            if within(imported, reserved) and not any(within(module, user) for user in users):
                found.append(f"{imported} is not for {module}")
        if within(imported, "lab") and package not in ENTRY_POINTS:
            target = [*imported.split("."), ""][1]
            if target not in DIRECTIONS[package] | EVERYBODY_S | {package}:
                found.append(f"{package} may not import {imported}")
        if package in PURE and imported.split(".")[0] in IMPURE_MODULES:
            found.append(f"{package} is pure and imports {imported}")
    if package in PURE:
        found += [f"{package} is pure and calls {call}" for call in impure_calls(tree)]
    if len(source.splitlines()) > MOST_LINES:
        found.append(f"{module} has more than {MOST_LINES} lines")
    if NAMELESS & set(module.split(".")):
        found.append(f"{module} has a name that says nothing")
    return found


def impure_calls(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Name(id=name) if name in IMPURE_FUNCTIONS:
                yield f"{name}()"
            case ast.Attribute(attr=name) if name in IMPURE_METHODS:
                yield f".{name}()"
            case ast.Attribute(attr="default_rng") if not node.args and not node.keywords:
                yield "default_rng() without a seed"


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_a_module_keeps_the_rules_of_the_house(file: Path) -> None:
    assert complaints(name_of(file), file.read_text(), file.name == "__init__.py") == []


def test_every_package_has_its_place_in_the_table() -> None:
    packages = {name_of(file).split(".")[1] for file in MODULES if name_of(file) != "lab"}

    assert packages <= set(DIRECTIONS) | ENTRY_POINTS


def test_the_table_has_no_circle() -> None:
    remaining = {package: set(others) for package, others in DIRECTIONS.items()}
    while remaining:
        lowest = {package for package, others in remaining.items() if not others & set(remaining)}
        assert lowest, f"a circle among {sorted(remaining)}"
        remaining = {package: others for package, others in remaining.items() if package not in lowest}


BAD = {
    "upward import": ("lab.analysis.x", "from lab.report import figures", "analysis may not import lab.report.figures"),
    "import of a whole package": ("lab.worker.x", "import lab.tokens", "worker may not import lab.tokens"),
    "relative import": ("lab.plan.x", "from ..topology import tree", "plan may not import lab.topology.tree"),
    "import inside a function": ("lab.record.x", "def f():\n import lab.plan", "record may not import lab.plan"),
    "from lab": ("lab.record.x", "from lab import plan", "record may not import lab.plan"),
    "pkcs11 in the coordinator": ("lab.topology.x", "import pkcs11", "pkcs11 is not for lab.topology.x"),
    "pkcs11 in a token kind": ("lab.tokens.softhsm", "import pkcs11", "pkcs11 is not for lab.tokens.softhsm"),
    "pandas": ("lab.record.x", "import pandas as pd", "pandas is not for lab.record.x"),
    "a module mapped by the coordinator": (
        "lab.topology.x",
        "from lab.native import cryptoki",
        "lab.native.cryptoki is not for lab.topology.x",
    ),
    "clock in a pure package": ("lab.plan.x", "from time import time", "plan is pure and imports time.time"),
    "file in a pure package": ("lab.scenario.x", "x = open('f')", "scenario is pure and calls open()"),
    "path read in a pure package": ("lab.scenario.x", "p.read_text()", "scenario is pure and calls .read_text()"),
    "unseeded chance": ("lab.plan.x", "np.random.default_rng()", "plan is pure and calls default_rng() without a seed"),
    "length": ("lab.worker.x", "\n" * 401, "lab.worker.x has more than 400 lines"),
    "name": ("lab.worker.utils", "", "lab.worker.utils has a name that says nothing"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_source_that_breaks_a_rule_is_found(what: str) -> None:
    module, source, complaint = BAD[what]

    assert complaints(module, source) == [complaint]


def test_a_source_that_keeps_the_rules_has_no_complaint() -> None:
    source = (
        "import math\nfrom pathlib import PurePath\nfrom lab.errors import ScenarioError\nfrom lab.plan.order import f"
    )

    assert complaints("lab.plan.x", source) == []
    assert complaints("lab.plan", "from .order import make", is_package=True) == []
    assert complaints("lab.worker.python_driver", "import pkcs11\nfrom lab.native import cryptoki") == []
