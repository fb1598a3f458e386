"""What a trial leaves behind besides its rows: one TrialRecord, stored as trial.json in the trial's folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Role = Literal["root", "worker", "generator", "master", "other"]
"""What a process was to the trial. A real server's first process is its master, and what descends from it a worker."""

End = Literal["exit", "signal", "hang", "cut-off", "root-died", "never-started", "unknown"]
"""How a process ended: by itself; by a signal; killed because overdue; killed because the user interrupted; killed by
the death of the trial root; planned but never born; unknown: the tap saw it and nobody waited for it."""


@dataclass(frozen=True)
class ProcessRecord:
    """One process of a trial."""

    # 0 is the trial root, workers are 1..N, then generators of load, then workers that took the place of others
    # (connections_per_child), then any further process that the tap saw
    index: int
    role: Role
    pid: int
    end: End
    status: int  # exit status for `exit`, signal number for `signal`, otherwise 0
    planned: int  # operations that this process was to do in warm-up and measurement; closed loop: that it began
    pss_kib: int | None  # proportional set size at the end of the load, all siblings still alive
    threads: int
    finished: bool = True  # it did its part of the load to the end; False for one that crashed, hung or left before
    detail: str | None = None  # e.g. the set-up step that failed, "C_OpenSession CKR_SLOT_ID_INVALID"
    last_call: str | None = None  # name of the function that a crashed or hung process was in, or had called last
    in_last_call: bool = True  # whether last_call had not returned; False lays nothing at the module's door
    stack: str | None = None  # file in the trial's folder with the C stacks of a hung process
    cpu_ns: int | None = None  # processor time from the release to the end of the load; None where it was not told
    program: str | None = None  # name of the program's file, of a process that the tap saw; never its arguments
    parent: int | None = None  # pid of its parent at its first PKCS#11 call
    busy_ns: int | None = None  # and how long that was: their quotient is the process's share of one processor
    born_ns: int | None = None  # of a real server's: CLOCK_MONOTONIC when it was first seen
    involuntary: int | None = None  # times that its threads were taken off a processor, until the end of the load
    gone_ns: int | None = None  # and when it had ended; None: after the load, or not known


@dataclass(frozen=True)
class OwnerRecord:
    """A program beside a trial that calls the token's module for its processes: the broker, or p11-kit's server.

    Where it has a row of the tap, it is one of the trial's processes of role "other" too, as are those that it started.
    """

    program: str  # name of its file
    pid: int
    pss_kib: int | None = None  # with all that it started, at the end of the load
    end: End = "unknown"
    status: int = 0  # as of a ProcessRecord; 0 for one that ended when it was asked to
    finished: bool = True  # False for one that ended before


@dataclass(frozen=True)
class ServerRecord:
    """What became of a trial's real server, besides its processes."""

    name: Literal["httpd", "nginx", "stunnel"]
    version: str
    ready_ns: int | None  # CLOCK_MONOTONIC when all its addresses accepted; None: never
    realtime_ns: int  # CLOCK_REALTIME - CLOCK_MONOTONIC, for the times in its log
    reload_ns: int | None = None  # CLOCK_MONOTONIC when it was told to reload
    kill_ns: int | None = None  # CLOCK_MONOTONIC when one of its workers was killed
    killed: int | None = None  # index of that worker


@dataclass(frozen=True)
class Signing:
    """One of two signatures that share a nonce."""

    process: int | None  # index of who signed; None where that is not known, of a server that the lab did not start
    at_ns: int  # CLOCK_MONOTONIC at the start of the signature, or of the client's handshake
    thread: int
    sequence: int  # of the operation in its thread (handshake: of the generator)
    vhost: int


@dataclass(frozen=True)
class NoncesRecord:
    """What the ECDSA signatures of a trial that verified tell of their nonces. Nothing of it is secret."""

    signatures: int  # that were looked at
    repeated: int  # whose r another one of the same key has that signs different data
    processes: tuple[int, ...]  # indexes of those who made the repeated ones, as far as known
    keys: int  # public keys that have repeated ones
    keys_proven: int  # of these, whose private key was computed, and checked against the public one
    first: tuple[Signing, Signing] | None  # the earliest two that a key was computed from, or that share their r

    @property
    def proven(self) -> bool:
        return self.keys_proven > 0

    @staticmethod
    def from_json(data: dict[str, Any]) -> NoncesRecord:
        """Raises TypeError or KeyError where the data are not a NoncesRecord's."""
        first = data["first"] and tuple(Signing(**signing) for signing in data["first"])
        return NoncesRecord(**{**data, "processes": tuple(data["processes"]), "first": first})


@dataclass(frozen=True)
class NoiseRecord:
    """What else went on on the machine from a trial's release to the end of its load.

    late_...: by how much a thread that sleeps a millisecond again and again was woken too late. Shares: of the time of
    all processors that a hypervisor gave to others, or that they had nothing to do; of the time that went by in which
    some task waited for a processor. None where the kernel does not tell.
    """

    sleeps: int
    late_p50_ns: int
    late_p99_ns: int
    late_max_ns: int
    steal_share: float | None
    idle_share: float | None
    pressure_share: float | None


@dataclass(frozen=True)
class TrialRecord:
    """One trial: which arm, what became of each process, and what makes it invalid."""

    number: int  # from 1, in the order of the plan
    block: int  # from 1
    arm: str
    open_loop: bool
    released_ns: int | None  # CLOCK_MONOTONIC when the workers were let go; None when they never were
    warmup_ns: int  # length of the warm-up after released_ns
    duration_ns: int  # length of the measured part after the warm-up
    processes: tuple[ProcessRecord, ...]
    lost_rows: int
    invalid_because: tuple[str, ...] = ()
    partial: bool = False  # interrupted
    traced: bool = False  # a program of the user's under the tap: nothing was planned, and there are no operations
    server: ServerRecord | None = None  # of a real server
    error_texts: tuple[tuple[int, str], ...] = ()  # what OpenSSL says of its codes that stand in the rows
    nonces: NoncesRecord | None = None  # where ECDSA signatures were there to be looked at
    owners: tuple[OwnerRecord, ...] = ()  # programs that have the token
    tables: tuple[tuple[str, str], ...] = ()  # files with the rows, and the SHA-256 of each as it was sealed

    @property
    def owning(self) -> frozenset[int]:
        """Indices of the processes that call the module for others, whose calls are those of others once more."""
        pids = {owner.pid for owner in self.owners}
        others = (process for process in self.processes if process.role == "other")
        return frozenset(process.index for process in others if process.pid in pids or process.parent in pids)

    noise: NoiseRecord | None = None  # None where nobody listened, or the trial was never released

    def killed_by_wish(self, process: ProcessRecord) -> bool:
        """Whether the scenario had the lab kill this process, so that its end is no crash."""
        return self.server is not None and self.server.killed == process.index and process.end == "signal"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> TrialRecord:
        """Raises TypeError or KeyError where the data are not a TrialRecord's."""
        fields = dict(data)
        fields["processes"] = tuple(ProcessRecord(**p) for p in fields["processes"])
        fields["invalid_because"] = tuple(fields["invalid_because"])
        if fields.get("server"):
            fields["server"] = ServerRecord(**fields["server"])
        fields["owners"] = tuple(OwnerRecord(**owner) for owner in fields.get("owners", ()))
        if fields.get("noise"):
            fields["noise"] = NoiseRecord(**fields["noise"])
        fields["error_texts"] = tuple((code, text) for code, text in fields.get("error_texts", ()))
        fields["tables"] = tuple((name, sha256) for name, sha256 in fields.get("tables", ()))
        if fields.get("nonces"):
            fields["nonces"] = NoncesRecord.from_json(fields["nonces"])
        return TrialRecord(**fields)
