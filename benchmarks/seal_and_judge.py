"""How long rows take to be sealed, checked against all rules and summarised, and how much memory.

    python benchmarks/seal_and_judge.py [--operations 10000000] [--trials 10] [--processes 2] [--threads 1]

Writes synthetic rows as workers and tap leave them (two PKCS#11 calls per operation), then seals the trials and
rebuilds the summary in a child process of its own, whose peak memory is what is reported. Signatures are not verified
here: that takes about what the signatures themselves took, and has a figure of its own (--verify N). Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lab.commands.report import rebuild
from lab.record import columns
from lab.record.dtypes import CALL, ENDED, HEADER, HEADER_BYTES, KIND, LOCKING, MAGIC, OPERATION, PHASE
from lab.record.mechanisms import mechanism
from lab.record.model import ProcessRecord, TrialRecord
from lab.record.names import FUNCTION_NUMBER, MECHANISM
from lab.record.seal import seal
from lab.record.verify import expand, verify

SERVICE_NS = 50_000


def trial_tables(
    generator: np.random.Generator, processes: int, threads: int, operations: int, workload: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Operation and call columns of one trial; `operations` is per process."""
    operation_parts, call_parts = [], []
    for process in range(1, processes + 1):
        n = operations
        thread = (np.arange(n) % threads).astype("u2")
        started = np.sort(generator.integers(0, n * SERVICE_NS // threads, n))
        service = generator.integers(SERVICE_NS // 2, SERVICE_NS, n)
        session = thread.astype("u8") + 1
        if workload == "session-churn":
            session = np.arange(1, n + 1, dtype="u8")
        operation = {name: np.zeros(n, dtype) for name, dtype in columns.OPERATIONS.items()}
        operation["process"][:] = process
        operation["thread"][:] = thread
        operation["tid"][:] = process * 1000 + thread.astype("u4")
        operation["kind"][:] = KIND["session_churn" if workload == "session-churn" else "sign"]
        operation["phase"][:] = PHASE["measured"]
        operation["sequence"][:] = np.arange(n) // threads
        operation["intended_ns"][:] = started - generator.integers(0, 2000, n)
        operation["started_ns"][:] = started
        operation["ended_ns"][:] = started + service
        operation["verified"][:] = columns.RIGHT
        operation["session"][:] = session
        operation_parts.append(operation)
        names = ("C_OpenSession", "C_CloseSession") if workload == "session-churn" else ("C_SignInit", "C_Sign")
        call = {name: np.zeros(2 * n + 4, dtype) for name, dtype in columns.CALLS.items()}
        call["process"][:] = process
        call["pid"][:] = process * 1000
        call["state"][:] = 2
        call["tid"][:] = process * 1000
        for place, name in enumerate(("C_Initialize", "C_OpenSession", "C_Login", "C_FindObjects")):
            call["function"][place] = FUNCTION_NUMBER[name]
            call["started_ns"][place] = (place - 10) * SERVICE_NS
            call["ended_ns"][place] = call["started_ns"][place] + 1000
        call["locking"][0] = LOCKING["os"]
        call["session"][1:4] = 1
        call["object"][3], call["argument"][3] = 7, 1
        for place, name in enumerate(names):
            rows = slice(4 + place, None, 2)
            call["function"][rows] = FUNCTION_NUMBER[name]
            call["tid"][rows] = process * 1000 + thread.astype("u4")
            call["session"][rows] = session
            call["started_ns"][rows] = started + 100 + place * service // 3
            call["ended_ns"][rows] = call["started_ns"][rows] + service // 3 - 100
        if workload == "sign":
            call["object"][4::2] = 7
            call["argument"][4::2] = MECHANISM["ECDSA"]
            call["argument"][5::2] = generator.integers(1, 2**63, n)
            call["tag"][5::2] = generator.integers(1, 2**63, n)
        for place in range(2, threads + 1):  # the other threads' sessions are there from the start
            extra = {name: column[1:2].copy() for name, column in call.items()}
            extra["session"][:] = place
            call = {name: np.concatenate([column[:2], extra[name], column[2:]]) for name, column in call.items()}
        call_parts.append(call)
    return (
        {name: np.concatenate([part[name] for part in operation_parts]) for name in columns.OPERATIONS},
        {name: np.concatenate([part[name] for part in call_parts]) for name in columns.CALLS},
    )


def write_run(folder: Path, arguments: argparse.Namespace) -> None:
    """A run folder of one arm."""
    generator = np.random.default_rng(42688)
    each = arguments.operations // arguments.trials // arguments.processes
    arm = {
        "name": "synthetic",
        "token": {"kind": "softhsm"},
        "topology": {"kind": "worker", "processes": arguments.processes, "threads": arguments.threads},
        "context": {"policy": "per-process", "session": "per-thread", "locking": "os"},
        "workload": {"kind": arguments.workload, "mechanism": "ECDSA", "key": "ec-p256"},
        "load": {"mode": "open", "rate_hz": 400.0},
    }
    scenario = {"name": "benchmark", "question": "", "seed": 1, "blocks": arguments.trials, "margin": {}, "arms": [arm]}
    folder.mkdir()
    (folder / "scenario.json").write_text(json.dumps(scenario))
    for number in range(1, arguments.trials + 1):
        operations, calls = trial_tables(generator, arguments.processes, arguments.threads, each, arguments.workload)
        trial = folder / "trials" / f"{number:04d}-synthetic"
        trial.mkdir(parents=True)
        for index in range(1, arguments.processes + 1):
            write_rows(trial / f"operations-{index}.rows", operations, index, OPERATION)
            write_rows(trial / f"calls-{index * 1000}.rows", calls, index, CALL)
        workers = tuple(
            ProcessRecord(index, "worker", index * 1000, "exit", 0, each, 10_000, arguments.threads)
            for index in range(1, arguments.processes + 1)
        )
        duration_ns = each * SERVICE_NS // arguments.threads
        record = TrialRecord(number, number, "synthetic", True, 0, 0, duration_ns, workers, 0)
        (trial / "record.json").write_text(json.dumps(record.to_json()))


def write_rows(path: Path, table: dict[str, Any], process: int, dtype: np.dtype[Any]) -> None:
    """A row file of one process, as C leaves it."""
    mine = table["process"] == process
    rows = np.zeros(int(mine.sum()), dtype)
    for name in dtype.names or ():
        if name in table:
            rows[name] = table[name][mine]
    rows["state"] = ENDED
    header = np.zeros(1, HEADER)
    header["magic"], header["row_bytes"], header["pid"], header["process"] = MAGIC, 64, process * 1000, process
    header["capacity"] = header["claimed"] = len(rows)
    with path.open("wb") as file:
        file.write(header.tobytes().ljust(HEADER_BYTES, b"\0"))
        rows.tofile(file)


def verified_hz(signatures: int) -> float:
    """P-256 signatures verified per second, as seal() does it."""
    key = ec.generate_private_key(ec.SECP256R1())
    how = mechanism("ECDSA", "ec-p256")
    inputs = np.arange(signatures, dtype=np.uint64)
    outputs = np.empty((signatures, 64), np.uint8)
    for place, data in enumerate(expand(inputs, how.data_bytes)):
        r, s = utils.decode_dss_signature(key.sign(data.tobytes(), ec.ECDSA(utils.Prehashed(SHA256()))))
        outputs[place] = np.frombuffer(r.to_bytes(32, "big") + s.to_bytes(32, "big"), np.uint8)
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    started = time.monotonic()
    verdicts = verify(how, pem, inputs, outputs, np.full(signatures, 64))
    assert (verdicts == columns.RIGHT).all()
    return signatures / (time.monotonic() - started)


def peak_rss_kib() -> int:
    """Of this process's own memory; getrusage would count what the parent held before the exec."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def rebuild_measured(folder: Path, answers: Any) -> None:
    """Runs in the child: seconds and peak memory of sealing and judging, and what it found."""
    started = time.monotonic()
    for noted in sorted(folder.glob("trials/*/record.json")):
        seal(noted.parent, TrialRecord.from_json(json.loads(noted.read_text())), None)
    sealed_s = time.monotonic() - started
    summary = rebuild(folder)
    seconds = time.monotonic() - started
    arm = summary["arms"]["synthetic"]
    answers.send(
        {
            "seconds": round(seconds, 2),
            "of_which_sealing_s": round(sealed_s, 2),
            "peak_rss_gib": round(peak_rss_kib() / 2**20, 2),
            "operations": arm["planned"],
            "calls": sum(function["count"] for function in arm["pkcs11_ms"].values()),
            "valid": summary["valid"],
            "rules": {rule: found["verdict"] for rule, found in arm["rules"].items()},
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=10_000_000)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workload", choices=("sign", "session-churn"), default="sign")
    parser.add_argument("--verify", type=int, default=0, metavar="N", help="verify N P-256 signatures instead")
    arguments = parser.parse_args()
    if arguments.verify:
        print(json.dumps({"verified_hz": round(verified_hz(arguments.verify))}))
        return
    spawn = multiprocessing.get_context("spawn")  # a fork would start with this process's memory
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run"
        write_run(folder, arguments)
        receiving, sending = spawn.Pipe(duplex=False)
        child = spawn.Process(target=rebuild_measured, args=(folder, sending))
        child.start()
        sending.close()
        print(json.dumps(vars(arguments) | receiving.recv()))
        child.join()


if __name__ == "__main__":
    main()
