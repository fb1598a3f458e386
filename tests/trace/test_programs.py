"""Programs that people use, under the tap: each does what it does without, and shows its processes, calls and rules."""

from __future__ import annotations

import subprocess

import pytest

from lab import program
from tests.traces import Tracing

STANDARD_SIGNALS = 0x7FFFFFFF  # 1 to 31; posix_spawn of glibc ignores two of its own above these


def _data(tracing: Tracing) -> str:
    path = tracing.place.folder / "data"
    path.write_bytes(b"to be signed")
    return str(path)


def _initialized(tracing: Tracing, process: int = 0) -> list[tuple[str, str]]:
    return [(each["locking"], each["answer"]) for each in tracing.processes[process]["initialized"]]


@pytest.mark.parametrize("bridge", ["engine", "provider"])
def test_openssl_signs_by_either_bridge(bridge: str, tracing: Tracing) -> None:
    data, signature = _data(tracing), tracing.place.folder / "signature"
    engine = ("-engine", "pkcs11", "-keyform", "engine") if bridge == "engine" else ()
    done = tracing.run(
        *("openssl", "dgst", "-sha256", *engine, "-sign", tracing.uri(), "-out", str(signature), data),
    )
    assert done.returncode == 0, done.stderr
    assert f"OPENSSL_CONF activates the {bridge}" in done.stderr
    assert signature.stat().st_size > 64
    (root,) = tracing.processes
    assert (root["program"], root["end"], root["status"]) == ("openssl", "exit", 0)
    assert tracing.arm["traced"]["calls"]["C_Sign"]["count"] == 1
    assert tracing.arm["traced"]["calls"]["C_Sign"]["p50"] > 0
    assert _initialized(tracing) == [("os", "CKR_OK")]
    assert tracing.verdict("initialize-per-process") == "conforms"
    assert tracing.verdict("own-handles") == "conforms"
    assert tracing.place.leftovers() == []


def test_pkcs11_tool_forks_and_its_child_initialises_on_what_it_inherited(tracing: Tracing) -> None:
    done = tracing.run("pkcs11-tool", "--module", tracing.module, "--test-fork")
    assert done.returncode == 1, "without reset_on_fork SoftHSM refuses, and so does the tool"
    assert "Calling C_Initialize in forked child process" in done.stdout
    parent, child = tracing.processes
    assert (parent["program"], child["program"]) == ("pkcs11-tool", "pkcs11-tool")
    assert child["parent"] == parent["pid"]
    assert _initialized(tracing, 1) == [("null_argument", "CKR_CRYPTOKI_ALREADY_INITIALIZED")]
    assert child["inherited_calls"] > 0
    assert "process 1: inherited for" in " ".join(done.stderr.split())


def test_a_trace_ends_with_a_report_of_its_own_unless_told_not_to(tracing: Tracing) -> None:
    command = ("pkcs11-tool", "--module", tracing.module, "--test-fork")
    done = tracing.run(*command, options=("--report",))
    assert done.returncode == 1
    assert "report: " in done.stderr
    told = (tracing.place.out / "report.md").read_text()
    assert "pkcs11-tool: 4 calls by 2 of 2 processes." in told
    assert "Processes of a traced program" in told
    assert "could not be shown" not in told
    assert (tracing.place.out / "report.html").exists()


def test_ssh_keygen_lists_keys(tracing: Tracing) -> None:
    done = tracing.run("ssh-keygen", "-D", tracing.module)
    assert done.returncode == 0, done.stderr
    assert "ecdsa-sha2-nistp256" in done.stdout
    assert tracing.processes[0]["program"] == "ssh-keygen"
    assert _initialized(tracing) == [("null_argument", "CKR_OK")]
    assert tracing.verdict("sessions-closed") == "conforms"


def test_p11tool_lists_objects(tracing: Tracing) -> None:
    done = tracing.run("p11tool", "--list-all", f"pkcs11:token={tracing.access.token_label}")
    assert done.returncode == 0, done.stderr
    assert "ec-p256" in done.stdout
    assert tracing.processes[0]["program"] == "p11tool"
    assert tracing.arm["traced"]["calls"]["C_FindObjects"]["count"] > 0
    assert tracing.verdict("sessions-closed") == "conforms"


def test_a_program_that_calls_nothing_is_whole_and_says_how_it_might(tracing: Tracing) -> None:
    done = tracing.run("sh", "-c", "echo said; exit 7")
    assert (done.returncode, done.stdout) == (7, "said\n")
    assert "no process called PKCS#11 through the tap" in done.stderr
    assert tracing.place.summary()["valid"]
    assert [(p["program"], p["calls"]) for p in tracing.processes] == [("sh", 0)]


def test_what_the_shell_handed_over_is_the_programs(tracing: Tracing) -> None:
    """Standard input, further descriptors (a shell's <(...)), and the default action of SIGPIPE."""
    (tracing.place.folder / "further").write_text("from further\n")
    with (tracing.place.folder / "further").open() as further:
        descriptor = further.fileno()
        script = f"cat; cat <&{descriptor}; yes | head -n 1; grep SigIgn /proc/self/status"
        running = tracing.start("bash", "-c", script, stdin=subprocess.PIPE, pass_fds=[descriptor])
        out, err = running.communicate("from stdin\n")
    assert running.returncode == 0, err
    *lines, ignored = out.splitlines()
    assert lines == ["from stdin", "from further", "y"]
    assert int(ignored.split()[1], 16) & STANDARD_SIGNALS == 0


def test_report_says_the_same_from_the_run_folder_alone(tracing: Tracing) -> None:
    tracing.run("pkcs11-tool", "--module", tracing.module, "-O")
    before = (tracing.place.out / "summary.json").read_bytes()
    (tracing.place.out / "summary.json").unlink()
    done = subprocess.run(
        program.command("lab", "report", "--no-page", str(tracing.place.out)),
        env=program.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Processes of pkcs11-tool that called PKCS#11" in done.stdout
    assert (tracing.place.out / "summary.json").read_bytes() == before


def test_quiet_leaves_the_programs_output_and_the_run_folder(tracing: Tracing) -> None:
    done = tracing.run("sh", "-c", "echo said", options=("--quiet",))
    assert (done.stdout, done.stderr) == ("said\n", f"run folder: {tracing.place.out}\n")


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        (("no-such-program",), (), "no-such-program: no such command"),
        (("true",), ("--module", "/nowhere/module.so"), "--module: /nowhere/module.so is no file"),
    ],
)
def test_what_cannot_start_is_one_message_and_status_2(
    command: tuple[str, ...], options: tuple[str, ...], message: str, tracing: Tracing
) -> None:
    done = tracing.run(*command, options=options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {message}")
    assert len(done.stderr.splitlines()) == 1
    assert not tracing.place.out.exists()


def test_a_file_that_is_no_program_is_bad_input_and_leaves_nothing(tracing: Tracing) -> None:
    nonsense = tracing.place.folder / "nonsense"
    nonsense.write_bytes(b"\x7fELF nonsense")
    nonsense.chmod(0o755)
    done = tracing.run(str(nonsense), options=("--quiet",))
    assert (done.returncode, done.stderr) == (2, f"error: {nonsense}: cannot be started: Exec format error\n")
    assert not tracing.place.out.exists()
    assert tracing.place.leftovers() == []


def test_a_module_that_a_variable_names_is_the_real_one(tracing: Tracing) -> None:
    environment = {"PKCS11_MODULE_PATH": "/nowhere/module.so"}
    done = tracing.run("true", environment=environment)
    assert done.returncode == 2
    assert "PKCS11_MODULE_PATH: /nowhere/module.so is no file" in done.stderr
