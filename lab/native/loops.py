"""Python's side of the operation loops (drive.c): one Drive per process, whose run() holds no GIL."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from lab.errors import LabFault
from lab.native import library
from lab.record.definition import KIND, LAYER, PHASE

SESSION_NONE, SESSION_OWN, SESSION_POOL, SESSION_PER_OPERATION = range(4)


class _Settings(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("bytes", "functions", "slot", "sessions", "session_count", "key")),
        *((name, ctypes.c_uint64) for name in ("mechanism", "parameter", "parameter_bytes", "prefix", "prefix_bytes")),
        *((name, ctypes.c_uint64) for name in ("digest_bytes", "seed")),
        *((name, ctypes.c_uint32) for name in ("process", "session_use", "kind", "spare")),
    ]


class _Load(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("bytes", "arrivals", "arrival_count")),
        *((name, ctypes.c_int64) for name in ("release_ns", "warmup_ns", "duration_ns", "give_up_ns")),
        *((name, ctypes.c_uint32) for name in ("thread", "phase", "refusal", "refused_by")),
    ]


@dataclass(frozen=True)
class Work:
    """What a process's loops are to do. `function_list` is an address, 0 for the null workload."""

    kind: str  # null, sign, random, session_churn
    function_list: int = 0
    slot: int = 0
    sessions: tuple[int, ...] = ()
    session_use: int = SESSION_NONE
    key: int = 0
    mechanism: int = 0
    parameter: tuple[int, ...] = ()  # CK_ULONGs
    prefix: bytes = b""  # before the digest
    digest_bytes: int = 32
    seed: int = 0


@dataclass(frozen=True)
class Load:
    """One thread's part of the load; times as in drive.c. `arrivals` is (address, count), None for a closed loop."""

    release_ns: int
    warmup_ns: int
    duration_ns: int
    give_up_ns: int
    arrivals: tuple[int, int] | None = None
    background: bool = False
    refusal: tuple[int, int] | None = None  # CKR code and function of a set-up that failed

    def arrival_offsets(self) -> list[int]:
        """The arrivals as Python numbers, for a driver that loops in Python."""
        address, count = self.arrivals or (0, 0)
        return list((ctypes.c_int64 * count).from_address(address)) if count else []


@dataclass
class _Kept:
    """What C holds pointers to."""

    buffers: list[object] = field(default_factory=list)


@cache
def _functions() -> ctypes.CDLL:
    drive = ctypes.CDLL(str(library("drive")))
    u32, u64, i64, pointer = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int64, ctypes.c_void_p
    prototypes = {
        "drive_open": (pointer, [ctypes.c_char_p, ctypes.c_char_p, u64, u32, u32, ctypes.POINTER(ctypes.c_int)]),
        "drive_set": (ctypes.c_int, [pointer, pointer]),
        "drive_stop": (None, [pointer]),
        "drive_run": (i64, [pointer, pointer]),
        "drive_once": (u32, [pointer, u32, u32, u32, ctypes.c_int]),
        "drive_begin": (i64, [pointer, u32, u32, u32, u32, i64, u32]),
        "drive_end": (None, [pointer, i64, u32, u32, u32, u64, ctypes.c_char_p, u64]),
        "drive_data": (None, [pointer, i64, pointer, u64]),
        "drive_wait_until": (None, [i64]),
        "drive_close": (None, [pointer]),
        "drive_settings_bytes": (u64, []),
        "drive_load_bytes": (u64, []),
    }
    for name, (result, arguments) in prototypes.items():
        function = getattr(drive, name)
        function.restype, function.argtypes = result, arguments
    for structure, bytes_in_c in ((_Settings, drive.drive_settings_bytes()), (_Load, drive.drive_load_bytes())):
        if ctypes.sizeof(structure) != bytes_in_c:
            raise LabFault("libdrive.so was built from another version of the lab: install the package again")
    return drive


def wait_until(when_ns: int) -> None:
    """Returns at that instant of CLOCK_MONOTONIC, as exactly as the loops do."""
    _functions().drive_wait_until(when_ns)


class Drive:
    """The rows and loops of one process. Made after the fork, in the process that it is for.

    Raises LabFault where the files cannot be made (full disk, folder not writable).
    """

    def __init__(self, folder: Path, process: int, capacity: int, output_bytes: int) -> None:
        self._c = _functions()
        self._kept = _Kept()
        error = ctypes.c_int()
        rows = folder / f"operations-{process}.rows"
        outputs = os.fsencode(folder / f"outputs-{process}.rows") if output_bytes else None
        self._drive = self._c.drive_open(
            os.fsencode(rows), outputs, capacity, output_bytes, process, ctypes.byref(error)
        )
        if not self._drive:
            raise LabFault(f"{rows}: {os.strerror(error.value)}")
        self.process = process

    def set(self, work: Work) -> None:
        sessions = (ctypes.c_uint64 * max(1, len(work.sessions)))(*work.sessions)
        parameter = (ctypes.c_uint64 * len(work.parameter))(*work.parameter) if work.parameter else None
        prefix = ctypes.create_string_buffer(work.prefix, len(work.prefix)) if work.prefix else None
        settings = _Settings(
            bytes=ctypes.sizeof(_Settings),
            functions=work.function_list,
            slot=work.slot,
            sessions=ctypes.addressof(sessions),
            session_count=len(work.sessions),
            key=work.key,
            mechanism=work.mechanism,
            parameter=ctypes.addressof(parameter) if parameter else 0,
            parameter_bytes=ctypes.sizeof(parameter) if parameter else 0,
            prefix=ctypes.addressof(prefix) if prefix else 0,
            prefix_bytes=len(work.prefix),
            digest_bytes=work.digest_bytes,
            seed=work.seed,
            process=self.process,
            session_use=work.session_use,
            kind=KIND[work.kind],
        )
        self._kept.buffers = [parameter, prefix]
        error = self._c.drive_set(self._drive, ctypes.byref(settings))
        if error:
            raise LabFault(f"the loops refuse their settings: {os.strerror(error)}")

    def run(self, thread: int, load: Load) -> int:
        """The whole load of one thread, GIL released. Returns the number of operations begun."""
        address, count = load.arrivals or (0, 0)
        code, function = load.refusal or (0, 0)
        settings = _Load(
            bytes=ctypes.sizeof(_Load),
            arrivals=address,
            arrival_count=count,
            release_ns=load.release_ns,
            warmup_ns=load.warmup_ns,
            duration_ns=load.duration_ns,
            give_up_ns=load.give_up_ns,
            thread=thread,
            phase=PHASE["background" if load.background else "measured"],
            refusal=code,
            refused_by=function,
        )
        return int(self._c.drive_run(self._drive, ctypes.byref(settings)))

    def once(self, thread: int, phase: str, sequence: int = 0, resume: bool = False) -> int:
        """One operation outside the load; returns its CKR code. `resume`: C_SignInit was called before the fork."""
        return int(self._c.drive_once(self._drive, thread, PHASE[phase], sequence, resume))

    def stop(self) -> None:
        """Ends the closed loops after their current operation."""
        self._c.drive_stop(self._drive)

    def begin(
        self, kind: str, phase: str, thread: int = 0, sequence: int = 0, intended_ns: int = 0, vhost: int = 0
    ) -> int:
        """Writes the first half of a row; returns its index for end()."""
        return int(self._c.drive_begin(self._drive, KIND[kind], PHASE[phase], thread, sequence, intended_ns, vhost))

    def end(
        self,
        index: int,
        code: int = 0,
        function: int = 0,
        layer: str = "pkcs11",
        session: int = 0,
        output: bytes = b"",
    ) -> None:
        """Writes the second half of a row, and keeps the output for verification."""
        self._c.drive_end(self._drive, index, code, function, LAYER[layer], session, output, len(output))

    def data(self, index: int, length: int) -> bytes:
        """The data that the row's operation signs."""
        buffer = ctypes.create_string_buffer(length)
        self._c.drive_data(self._drive, index, buffer, length)
        return buffer.raw


def addresses(arrivals: memoryview, counts: Sequence[int]) -> list[tuple[int, int]]:
    """Address and length of each thread's part of one int64 array, for Load.arrivals. It must outlive the load."""
    start = ctypes.addressof(ctypes.c_char.from_buffer(arrivals)) if len(arrivals) else 1  # any address but NULL
    offsets = [sum(counts[:i]) for i in range(len(counts))]
    return [(start + 8 * offset, count) for offset, count in zip(offsets, counts, strict=True)]
