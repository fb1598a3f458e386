"""The words of a scenario file as frozen models (DESIGN section 6.2); what they resolve to is in resolved.py.

One model serves a table as it is written, where any key may be absent, and as it is resolved, where every key that
applies has its value and every key that does not apply to the arm is None. The rules between keys are in rules.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

TokenKind = Literal["softhsm", "nss", "opencryptoki", "tpm2", "p11kit-proxy", "p11kit-remote", "module"]
Over = Literal["softhsm", "nss", "opencryptoki", "tpm2"]
TopologyKind = Literal["prefork", "worker", "event", "threads", "spawn"]
ForkPoint = Literal["idle", "threads-busy", "mid-operation"]
Start = Literal["staggered", "herd"]
Policy = Literal["shared", "per-process", "reinit", "broker"]
Inherit = Literal["sessions", "context"]
SessionPolicy = Literal["per-thread", "per-process", "pool", "per-operation"]
Locking = Literal["os", "none"]
WorkloadKind = Literal["null", "sign", "random", "session-churn", "handshake"]
Key = Literal["ec-p256", "ec-p384", "rsa-2048", "rsa-3072", "rsa-4096"]
Mechanism = Literal[
    "ECDSA",
    "ECDSA_SHA1",
    "ECDSA_SHA256",
    "ECDSA_SHA384",
    "ECDSA_SHA512",
    "RSA_PKCS",
    "RSA_PKCS_PSS",
    "SHA256_RSA_PKCS",
    "SHA384_RSA_PKCS",
    "SHA512_RSA_PKCS",
    "SHA256_RSA_PKCS_PSS",
    "SHA384_RSA_PKCS_PSS",
    "SHA512_RSA_PKCS_PSS",
]
Driver = Literal["native", "python-pkcs11"]
TlsVersion = Annotated[
    Literal["1.2", "1.3"],
    BeforeValidator(lambda value: _VERSIONS.get(value, value) if isinstance(value, float) else value),
]
Bridge = Literal["direct", "engine", "provider", "software"]
Server = Literal["lab", "external", "httpd", "nginx", "stunnel"]
KeyExchange = Literal["ecdhe", "rsa"]
VhostBy = Literal["sni", "ip"]
Resumption = Literal["off", "shared", "per-process"]
LoadMode = Literal["open", "closed"]
Arrivals = Literal["poisson", "paced"]

MAX_WORKER_THREADS = 2_000
MAX_OPERATIONS = 50_000_000
MAX_ARMS = 200
MAX_VHOSTS = 1_000
MAX_INTRUDERS = 10_000
MAX_ADDRESSES = 253
"""Virtual hosts by IP address are 127.0.0.2 and up, in one network of 256 (127.0.0.255 is its broadcast address)."""

_VERSIONS: Final[Mapping[object, str]] = {1.2: "1.2", 1.3: "1.3"}
"""Versions written as numbers, as in --set tls.version=1.2, where quotes would have to survive the shell."""

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
ARM_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9 ._=+-]{0,99}$"
VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
USER_PATTERN = r"^[A-Za-z_][A-Za-z0-9_.-]{0,31}$"

PATHS: Final[Mapping[str, tuple[str, ...]]] = {
    "token": ("path", "pin_file"),
    "tls": ("trust", "certificate", "bridge_library"),
}
"""Keys of tables that name files: a scenario file's are seen from that file, those of --set from the shell."""

Text = Annotated[str, Field(min_length=1, max_length=4096)]
User = Annotated[str, Field(pattern=USER_PATTERN)]
Variable = Annotated[str, Field(pattern=VARIABLE_PATTERN, max_length=255)]
Timeout = Annotated[float, Field(ge=0.1, le=86_400)]


class Closed(BaseModel):
    """Frozen, without conversions ("4" is no number), and closed to keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Token(Closed):
    """[token]: where the key lives."""

    kind: TokenKind = Field(
        "softhsm",
        description="What holds the key. softhsm, nss, opencryptoki, tpm2: a private token of SoftHSM, NSS, "
        "openCryptoki (for root; in Debian 12 of RSA keys only), a software TPM; p11kit-proxy: one behind p11-kit's "
        "proxy module; p11kit-remote: one behind a p11-kit server, whom the others talk to; module: any, by its path.",
    )
    over: Over | None = Field(
        None, description="p11kit-proxy, p11kit-remote only: the token behind p11-kit. Default softhsm."
    )
    reset_on_fork: bool | None = Field(
        None,
        description="softhsm, and what is over it: its library.reset_on_fork, which makes it forget its state in a "
        "child. Default false.",
    )
    resource_manager: bool | None = Field(
        None,
        description="tpm2, and what is over it: true puts tpm2-abrmd before the TPM, which alone holds two keys of all "
        "processes together. Its client's threads do not survive a fork. Needed where there are more; default false.",
    )
    path: Text | None = Field(
        None, description="module only: path of the PKCS#11 library, seen from the scenario file."
    )
    token_label: Text | None = Field(None, description="module only: label of the token.")
    pin_env: Variable | None = Field(
        None, description="module only: name of the environment variable that holds the PIN."
    )
    pin_file: Text | None = Field(
        None, description="module only: file that holds the PIN, seen from the scenario file."
    )
    key_label: Text | None = Field(None, description="module only: label of the existing private key.")
    init_string: Text | None = Field(None, description="module only: text given to C_Initialize in pReserved.")
    environment: Mapping[Variable, str] = Field(
        default_factory=dict,
        repr=False,
        description="module only: environment variables that the module needs. Their values are never recorded.",
    )
    provision: bool = Field(
        False,
        description="module only: true lets the lab create keys on the token. Otherwise nothing is created on it.",
    )
    read_write: bool | None = Field(
        None,
        description="module only: true opens its sessions read/write, where it has no others. Default false.",
    )


class Topology(Closed):
    """[topology]: the process and thread shape."""

    kind: TopologyKind = Field(
        "prefork",
        description="prefork: N processes of 1 thread; worker: N processes of T threads; event (handshake only): N "
        "processes, each with one loop of many connections (httpd: and T threads); threads: 1 process of T threads; "
        "spawn: N processes that exec, the control without a fork. Default of real servers: prefork for httpd (which "
        "has worker and event too), event for nginx, threads for stunnel.",
    )
    processes: int = Field(4, ge=1, le=200, description="Worker processes. Default 4; 1 for threads.")
    threads: int = Field(
        1,
        ge=1,
        le=MAX_WORKER_THREADS,
        description="Worker threads of each process. Default 1; 4 for worker, threads, httpd's event. Not for stunnel.",
    )
    fork_point: ForkPoint = Field("idle", description="What the parent is doing at the fork.")
    busy_threads: int | None = Field(
        None, ge=1, le=64, description="threads-busy only: threads of the parent that sign during the forks. Default 2."
    )
    start: Start = Field("staggered", description="staggered: one set-up at a time; herd: all at once.")
    connections_per_child: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="handshake only, not nginx, stunnel: a process ends after so many connections, and a new one "
        "takes its place. Default: it never ends.",
    )


class Context(Closed):
    """[context]: who owns the initialised PKCS#11 library state after the fork."""

    policy: Policy | None = Field(
        "per-process",
        description="shared: made before the fork and used as it is; per-process: each child makes its own; "
        "reinit: made before the fork, each child reloads it; broker: one process beside has the token, and each child "
        "a context that talks to it. Not for real servers: what their libraries do is found and reported.",
    )
    inherit: Inherit | None = Field(
        None,
        description="shared only. sessions (default): children use the parent's handles; context: children open "
        "sessions of their own in the inherited context.",
    )
    session: SessionPolicy | None = Field(
        "per-thread",
        description="Sessions of a process: one per thread, one behind a lock, a pool, one per operation. Not for the "
        "bridges engine and provider, whose libraries decide it.",
    )
    pool_size: int | None = Field(
        None, ge=1, le=MAX_WORKER_THREADS, description="pool only: sessions of each process. Default 2."
    )
    locking: Locking | None = Field(
        "os",
        description="What C_Initialize is told: os (CKF_OS_LOCKING_OK) or none (a NULL argument). The bridges engine "
        "and provider have it as their libraries ask, unless it is given.",
    )


class Workload(Closed):
    """[workload]: what one operation is."""

    kind: WorkloadKind = Field(
        "sign", description="What each operation does. null runs the topology with no token at all: the lab's floor."
    )
    key: Key | None = Field(None, description="sign, handshake: the key that signs, or the server's. Default ec-p256.")
    mechanism: Mechanism | None = Field(
        None, description="sign only. Default ECDSA for ec keys, RSA_PKCS for rsa keys."
    )
    driver: Driver | None = Field(
        None,
        description="What makes the calls. native (default): loops in C; python-pkcs11: as a Python application "
        "would, which always initialises with locking none. Not for handshake.",
    )


class Tls(Closed):
    """[tls]: who terminates TLS, and how it reaches the key. As resolved, None is what an external server decides."""

    version: TlsVersion = Field("1.3", description="The one protocol version that both ends offer.")
    bridge: Bridge | None = Field(
        "direct",
        description="How TLS reaches the key. direct: the lab's own key method, with no fork handling; engine: OpenSSL "
        "ENGINE and libp11; provider: pkcs11-provider; software: a key in memory and no token, the floor. Real servers "
        "have engine (their default) and provider.",
    )
    server: Server = Field(
        "lab",
        description="lab: the lab's own server; httpd, nginx, stunnel: the real one, started by the lab with a "
        "configuration of its own; external: one that is running already.",
    )
    bridge_library: Text | None = Field(
        None,
        description="bridge engine or provider only: the shared object that OpenSSL loads, seen from the scenario "
        "file. Default: the installed one.",
    )
    host: Text | None = Field(None, description="external only, and needed: name or address of the server.")
    port: int | None = Field(
        None, ge=1, le=65_535, description="TCP port: needed for external; of the lab's server, default any free one."
    )
    trust: Text | None = Field(
        None,
        description="external only: PEM file of trusted certificates, seen from the scenario file. Default: the "
        "system's.",
    )
    certificate: Text | None = Field(
        None,
        description="token.kind = module and one virtual host only: PEM file with the certificate of the token's key, "
        "seen from the scenario file. Default: the lab makes one.",
    )
    key_exchange: KeyExchange | None = Field(
        "ecdhe", description="ecdhe: the key signs; rsa (version 1.2, an rsa key, not engine): the key decrypts."
    )
    ciphers: Text | None = Field(None, description="version 1.2 only: cipher list of the server, as OpenSSL takes it.")
    vhosts: int = Field(
        1, ge=1, le=MAX_VHOSTS, description="Virtual hosts of the server, each with a key and a certificate of its own."
    )
    vhost_by: VhostBy | None = Field(
        "sni",
        description="How a virtual host is chosen: by name (SNI) at one address, or by IP address (127.0.0.2 and up, "
        f"{MAX_ADDRESSES} at most).",
    )
    resumption: Resumption | None = Field(
        "off",
        description="Session tickets: off; shared: all processes have one ticket key; per-process: each has its own. "
        "Real servers: off.",
    )
    timeout_s: float = Field(5.0, ge=0.05, le=600, description="Seconds after which either end gives a handshake up.")


class RealServer(Closed):
    """[server]: how a real server (tls.server = httpd, nginx, stunnel) is run, and what happens to it."""

    user: User | None = Field(None, description="User of its workers where the lab runs as root. Default www-data.")
    foreground: bool = Field(
        True, description="false: it becomes a daemon, whose master is a fork of the process that read the key."
    )
    env_lines: bool | None = Field(
        None,
        description="nginx only: false leaves out the env lines that let its workers find their token. Default true.",
    )
    reload_at_s: float | None = Field(
        None,
        ge=0,
        le=3_600,
        description="Seconds after the begin of the load (warm-up included) when it is told to read its configuration "
        "again, gracefully.",
    )
    kill_at_s: float | None = Field(
        None,
        ge=0,
        le=3_600,
        description="Seconds after the begin of the load when one of its workers is killed. Not for stunnel.",
    )


class Intruders(Closed):
    """[load] intruders: connections that are no handshakes, so many in each trial, spread evenly over the load."""

    silent: int = Field(0, ge=0, le=MAX_INTRUDERS, description="Clients that connect and say nothing.")
    rubbish: int = Field(0, ge=0, le=MAX_INTRUDERS, description="Clients that send what is not TLS.")
    reset: int = Field(0, ge=0, le=MAX_INTRUDERS, description="Clients that reset in the middle of their ClientHello.")
    mismatch: int = Field(0, ge=0, le=MAX_INTRUDERS, description="Clients that offer no cipher which the server has.")


class Load(Closed):
    """[load]: how many operations, and when."""

    mode: LoadMode = Field(
        "open", description="open: operations are due at planned times; closed: each thread starts the next at once."
    )
    rate_hz: float | None = Field(
        None, gt=0, le=1_000_000, description="open only: operations per second of the whole arm. Default 100."
    )
    arrivals: Arrivals | None = Field(
        None, description="open only: poisson (default, independent arrivals) or paced (evenly spaced)."
    )
    clients: int | None = Field(
        None,
        ge=1,
        le=4_096,
        description="handshake in a closed loop only: clients that have one connection each at a time. Default 8.",
    )
    generators: int | None = Field(
        None, ge=1, le=16, description="handshake only: processes that make the load. Default 1."
    )
    intruders: Intruders | None = Field(
        None,
        description="handshake with server lab only: connections that are no handshakes, in numbers per trial, such "
        "as { silent = 10, rubbish = 10 }.",
    )
    warmup_s: float = Field(1.0, ge=0, le=3_600, description="Seconds of load that are labelled as warm-up.")
    duration_s: float = Field(5.0, ge=0.05, le=3_600, description="Seconds of load that are measured.")


REAL_SERVERS: Final = ("httpd", "nginx", "stunnel")
"""Values of tls.server that are programs which the lab starts."""

Scalar = bool | int | float | str
