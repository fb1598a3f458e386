"""Where the libraries of the bridges lie, and what is said where they are missing."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lab.errors import ScenarioError
from lab.tokens import bridges
from lab.tokens.bridges import LIBRARIES, OpenSsl, library_for, library_of, openssl, preflight, version_of
from tests.tokens.conftest import Arm, Settings, Tls, Workload

BRIDGES = tuple(LIBRARIES)


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An OpenSSL that looks in an empty folder, on a machine with nothing in the usual places."""
    ours = OpenSsl("3.0.99", True, dict.fromkeys(BRIDGES, tmp_path))
    monkeypatch.setattr(bridges, "openssl", lambda: ours)
    elsewhere = {name: replace(library, patterns=()) for name, library in LIBRARIES.items()}
    monkeypatch.setattr(bridges, "LIBRARIES", elsewhere)
    for library in LIBRARIES.values():
        monkeypatch.delenv(library.override, raising=False)
    return tmp_path


def arm(bridge: str, library: Path | None = None) -> Arm:
    tls = Tls(bridge=bridge, bridge_library=str(library) if library else None)
    return Arm(Settings(), Workload("handshake", "ec-p256", None), tls=tls)


def test_openssl_says_its_version_and_where_it_looks() -> None:
    ours = openssl()

    assert int(ours.version.partition(".")[0]) >= 3
    assert set(ours.folders) == set(BRIDGES)
    assert all(folder.is_absolute() for folder in ours.folders.values())


@pytest.mark.parametrize("bridge", BRIDGES)
def test_a_library_is_found_where_openssl_looks(bridge: str, nowhere: Path) -> None:
    (nowhere / "pkcs11.so").touch()

    assert library_of(bridge) == nowhere / "pkcs11.so"


@pytest.mark.parametrize("bridge", BRIDGES)
def test_a_library_is_found_in_the_usual_places_otherwise(
    bridge: str, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nowhere / "usual").mkdir()
    (nowhere / "usual/pkcs11.so").touch()
    library = replace(LIBRARIES[bridge], patterns=(f"{nowhere}/us*/pkcs11.so",))
    monkeypatch.setattr(bridges, "LIBRARIES", {bridge: library})

    assert library_of(bridge) == nowhere / "usual/pkcs11.so"


@pytest.mark.parametrize("bridge", BRIDGES)
def test_the_override_comes_first(bridge: str, nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nowhere / "pkcs11.so").touch()
    (nowhere / "mine.so").touch()
    monkeypatch.setenv(LIBRARIES[bridge].override, str(nowhere / "mine.so"))

    assert library_of(bridge) == nowhere / "mine.so"


@pytest.mark.parametrize("bridge", BRIDGES)
def test_an_override_that_names_no_file_is_said(bridge: str, nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nowhere / "pkcs11.so").touch()
    monkeypatch.setenv(LIBRARIES[bridge].override, "/nowhere/x.so")

    with pytest.raises(
        ScenarioError, match=rf"^tls\.bridge: {bridge}: LAB_\w+ names /nowhere/x\.so, which is no file$"
    ):
        library_of(bridge)


@pytest.mark.parametrize(
    ("bridge", "package"),
    [("engine", "libengine-pkcs11-openssl"), ("provider", r"pkcs11-provider \(on Debian 12 from bookworm-backports\)")],
)
def test_a_missing_library_names_arm_key_and_the_package_to_install(bridge: str, package: str, nowhere: Path) -> None:
    said = rf'^x\.toml: arm "only": tls\.bridge: {bridge}: .* is not installed .*install the Debian package {package}, '

    with pytest.raises(ScenarioError, match=said + rf"or set {LIBRARIES[bridge].override}"):
        preflight([arm("direct"), arm(bridge)], "x.toml")


def test_an_openssl_without_engine_is_said_even_where_the_file_is_there(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nowhere / "pkcs11.so").touch()
    monkeypatch.setattr(bridges, "openssl", lambda: OpenSsl("4.0.0", False, dict.fromkeys(BRIDGES, nowhere)))

    with pytest.raises(
        ScenarioError, match=r"^tls\.bridge: engine: this OpenSSL \(4\.0\.0\) has no ENGINE; use direct"
    ):
        library_of("engine")
    assert library_of("provider") == nowhere / "pkcs11.so"


def test_arms_without_a_library_need_none(nowhere: Path) -> None:
    preflight([arm("direct"), arm("software"), Arm(Settings())], "x.toml")


def test_a_file_of_no_package_has_no_version(tmp_path: Path) -> None:
    (tmp_path / "pkcs11.so").touch()

    assert version_of(tmp_path / "pkcs11.so") is None


@pytest.mark.parametrize("bridge", ["engine", "provider"])
def test_a_file_that_openssl_could_not_load_is_no_bridge(bridge: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bridges.loadable(bridge, bridges.library_of(bridge))
    other = {"engine": "provider", "provider": "engine"}[bridge]
    for wrong in (Path(__file__), bridges.library_of(other)):
        with pytest.raises(ScenarioError, match=rf"tls.bridge: {bridge}: .* is no {bridge} that OpenSSL could load"):
            bridges.loadable(bridge, wrong)


@pytest.mark.parametrize("bridge", BRIDGES)
def test_the_library_of_the_scenario_comes_before_all_others(
    bridge: str, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pkcs11.so", "mine.so", "scenario.so"):
        (nowhere / name).touch()
    monkeypatch.setenv(LIBRARIES[bridge].override, str(nowhere / "mine.so"))
    monkeypatch.chdir(nowhere)

    assert library_for(Tls(bridge=bridge)) == nowhere / "mine.so"
    assert library_for(Tls(bridge=bridge, bridge_library="scenario.so")) == nowhere / "scenario.so"


@pytest.mark.parametrize("bridge", ["direct", "software", None])
def test_a_bridge_that_loads_nothing_has_no_library(bridge: str | None, nowhere: Path) -> None:
    assert library_for(Tls(bridge=bridge)) is None


@pytest.mark.parametrize("bridge", BRIDGES)
def test_a_library_of_the_scenario_that_is_no_file_is_said_with_its_key(bridge: str, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.so"):
        with pytest.raises(
            ScenarioError,
            match=rf'^x\.toml: arm "only": tls\.bridge_library: {path} is no file; name .*, or leave it out',
        ):
            preflight([arm(bridge, path)], "x.toml")


@pytest.mark.parametrize("bridge", BRIDGES)
def test_a_library_of_the_scenario_that_openssl_could_not_load_is_said_with_its_key(
    bridge: str, tmp_path: Path
) -> None:
    own = shutil.copy(library_of(bridge), tmp_path / "own.so")
    preflight([arm(bridge), arm(bridge, own)], "x.toml")
    own.write_text("nothing")

    with pytest.raises(
        ScenarioError, match=rf'arm "only": tls\.bridge_library: {bridge}: {own} is no {bridge} that OpenSSL'
    ):
        preflight([arm(bridge), arm(bridge, own)], "x.toml")


def test_an_openssl_without_engine_is_said_also_where_the_scenario_names_one(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nowhere / "mine.so").touch()
    monkeypatch.setattr(bridges, "openssl", lambda: OpenSsl("4.0.0", False, {}))

    with pytest.raises(ScenarioError, match=r"^tls\.bridge: engine: this OpenSSL \(4\.0\.0\) has no ENGINE"):
        library_for(Tls(bridge="engine", bridge_library=str(nowhere / "mine.so")))


def test_the_manifest_tells_each_library_that_is_loaded_once(tmp_path: Path) -> None:
    own = tmp_path / "own.so"
    own.write_bytes(b"of no package")
    arms = [arm("direct"), arm("engine"), arm("engine"), arm("engine", own), Arm(Settings())]

    installed, given = bridges.manifest(arms)

    assert (installed["bridge"], installed["library"]) == ("engine", str(library_of("engine")))
    assert len(installed["sha256"]) == 64
    assert given == {
        "bridge": "engine",
        "library": str(own),
        "sha256": hashlib.sha256(b"of no package").hexdigest(),
        "package_version": None,
    }
