"""Nothing of arguments or of the environment is stored, and copies of configurations are gone."""

from __future__ import annotations

import stat
from pathlib import Path

from tests.secrecy import holders
from tests.traces import Tracing


def test_a_pin_of_an_argument_or_a_variable_is_nowhere_in_the_run_folder(tracing: Tracing) -> None:
    done = tracing.run(
        *("pkcs11-tool", "--module", tracing.module, "--login", "--pin", tracing.pin, "-O"),
        environment={"TOKEN_PIN": tracing.pin, "PKCS11_URI": tracing.uri()},
    )
    assert done.returncode == 0, done.stderr
    assert tracing.processes[0]["logins"] == 1
    assert holders(tracing.place.out, tracing.pin) == []
    assert tracing.pin not in done.stderr
    assert tracing.place.leftovers() == []


def test_the_copy_of_a_users_openssl_cnf_is_as_private_as_it_was_and_does_not_stay(tracing: Tracing) -> None:
    own = tracing.place.folder / "own.cnf"
    own.write_text(f"# pin {tracing.pin}\n[engine]\nMODULE_PATH = {tracing.module}\n")
    own.chmod(0o640)
    seen = tracing.place.folder / "seen"
    script = f'cp "$OPENSSL_CONF" {seen}; stat -c %a "$OPENSSL_CONF"'
    done = tracing.run("sh", "-c", script, environment={"OPENSSL_CONF": str(own)})
    assert done.stdout == "640\n", done.stderr
    assert f"OPENSSL_CONF is a copy of {own} that names the tap" in done.stderr
    assert "libtap.so" in seen.read_text()
    assert seen.read_text().startswith(f"# pin {tracing.pin}\n[engine]\n")
    assert holders(tracing.place.out, tracing.pin) == []
    assert tracing.place.leftovers() == []


def test_the_run_folder_is_closed_to_others_again(tracing: Tracing) -> None:
    tracing.run("pkcs11-tool", "--module", tracing.module, "-L")
    (trial,) = (tracing.place.out / "trials").iterdir()
    assert stat.S_IMODE(Path(trial).stat().st_mode) == 0o755
