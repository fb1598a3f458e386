"""Wrong scenario files and overrides, each with what its one message must hold. Read by more than one test."""

from __future__ import annotations

import os
from pathlib import Path

from tests.bad import MODULE, PIN, POLICIES, SECRET, TOKENS, TWO_ARMS, Bad
from tests.bad_handshakes import HANDSHAKES
from tests.bad_real_servers import REAL_SERVERS

__all__ = ["BAD", "SECRET", "Bad"]


def _directory(folder: Path) -> Path:
    path = folder / "wrong.toml"
    path.mkdir()
    return path


def _fifo(folder: Path) -> Path:
    path = folder / "wrong.toml"
    os.mkfifo(path)
    return path


def _loop(folder: Path) -> Path:
    path = folder / "wrong.toml"
    path.symlink_to(path)
    return path


BAD: tuple[Bad, ...] = (
    # not a scenario file at all
    Bad("no such file", lambda folder: folder / "wrong.toml", ("no such file",)),
    Bad("a directory", _directory, ("is a directory",)),
    Bad("a pipe", _fifo, ("not a regular file",)),
    Bad("a link to itself", _loop, ("cannot be read",)),
    Bad("a name too long", lambda folder: folder / f"{'x' * 300}wrong.toml", ("cannot be read",)),
    Bad("empty", b"", ("is empty",)),
    Bad("blank", b" \n\n", ("is empty",)),
    Bad("binary", b"\x7fELF\x02\x01\x00\x00", ("is binary",)),
    Bad("not UTF-8", b'question = "caf\xe9"', ("not UTF-8", "byte 15")),
    Bad("larger than a megabyte", b"# " + b"x" * 1_000_000, ("larger than",)),
    Bad("not TOML", b"policy: shared\n", ("not TOML", "line 1")),
    Bad("JSON", b'{"name": "x"}', ("not TOML", "line 1")),
    Bad("a table twice", b"[load]\n[load]\n", ("not TOML", "line 2")),
    Bad("nested too deeply", b"a = " + b"[" * 100_000, ("nested too deeply",)),
    Bad("a number of 5000 digits", b"seed = " + b"9" * 5000, ("not TOML",)),
    Bad("a NUL in TOML", b'name = "a\\u0000b"', ("name", "letters, digits")),
    # tables and keys
    Bad("a misspelt table", b'[topolgy]\nkind = "prefork"', ("topolgy", "did you mean topology?")),
    Bad("a misspelt key", b"[topology]\nproceses = 4", ("topology.proceses", "did you mean processes?")),
    Bad("an unknown key", b"[load]\nzzz = 4", ("load.zzz", "use one of mode, rate_hz")),
    Bad("an unknown table", b"[zzz]\na = 1", ("zzz", "use one of token, topology")),
    Bad("a key in no table", b"rate_hz = 5", ("rate_hz", "did you mean load.rate_hz?")),
    Bad("a key in the wrong table", b"[topology]\npolicy = 'shared'", ("topology.policy", "context.policy")),
    Bad("a table that is text", b'load = "open"', ("load", "a table")),
    Bad("a table that is a list", b"[[topology]]\nprocesses = 4", ("topology", "a table")),
    # types and ranges
    Bad("processes as text", b'[topology]\nprocesses = "4"', ("topology.processes", '"4"', "1 to 200")),
    Bad("processes with a fraction", b"[topology]\nprocesses = 4.5", ("topology.processes", "4.5", "whole number")),
    Bad("processes true", b"[topology]\nprocesses = true", ("topology.processes", "true", "whole number")),
    Bad("processes a date", b"[topology]\nprocesses = 2007-06-18", ("topology.processes", "whole number")),
    Bad("no process", b"[topology]\nprocesses = 0", ("topology.processes", "1 to 200")),
    Bad("a thousand million processes", b"[topology]\nprocesses = 1000000000", ("topology.processes", "1 to 200")),
    Bad("minus one process", b"[topology]\nprocesses = -1", ("topology.processes", "-1", "1 to 200")),
    Bad("no thread", b"[topology]\nthreads = 0", ("topology.threads", "1 to 2000")),
    Bad("an endless number", b"[topology]\nprocesses = 0x" + b"f" * 6000, ("topology.processes", "1 to 200")),
    Bad("a rate of NaN", b"[load]\nrate_hz = nan", ("load.rate_hz", "nan", "above 0")),
    Bad("an infinite rate", b"[load]\nrate_hz = inf", ("load.rate_hz", "inf", "1000000")),
    Bad("a rate of zero", b"[load]\nrate_hz = 0", ("load.rate_hz", "above 0")),
    Bad("a negative rate", b"[load]\nrate_hz = -400.0", ("load.rate_hz", "-400.0", "above 0")),
    Bad("a rate of true", b"[load]\nrate_hz = true", ("load.rate_hz", "true")),
    Bad("a negative duration", b"[load]\nduration_s = -1", ("load.duration_s", "0.05", "3600")),
    Bad("a duration of zero", b"[load]\nduration_s = 0", ("load.duration_s", "0.05", "3600")),
    Bad("a duration of a day", b"[load]\nduration_s = 86400", ("load.duration_s", "0.05", "3600")),
    Bad("a negative warm-up", b"[load]\nwarmup_s = -0.1", ("load.warmup_s", "0", "3600")),
    Bad("no blocks", b"blocks = 0", ("blocks", "1 to 1000", 'or "auto"')),
    Bad("blocks of another word", b'blocks = "some"', ("blocks", '"some"', 'a whole number from 1 to 1000, or "auto"')),
    Bad("blocks of half a number", b"blocks = 6.5", ("blocks", "6.5", 'or "auto"')),
    Bad("a pilot of one arm", b'blocks = "auto"', ("blocks", "two or more arms", "1 to 1000")),
    Bad("a seed as text", b'seed = "42688"', ("seed", "whole number")),
    Bad("a negative seed", b"seed = -1", ("seed", "whole number")),
    Bad("a time-out of zero", b"timeout_s = 0", ("timeout_s", "0.1")),
    Bad("a name that is a path", b'name = "../x"', ("name", "letters, digits")),
    Bad("an empty name", b'name = ""', ("name", "letters, digits")),
    # enumerations
    Bad("token kind", b'[token]\nkind = "hsm"', ("token.kind", '"hsm"', TOKENS)),
    Bad("topology kind", b'[topology]\nkind = "fork"', ("topology.kind", "prefork, worker, event, threads, spawn")),
    Bad("fork point", b'[topology]\nfork_point = "busy"', ("fork_point", "idle, threads-busy, mid-operation")),
    Bad("start", b'[topology]\nstart = "slow"', ("topology.start", "staggered, herd")),
    Bad("policy", b'[context]\npolicy = "sharde"', ("context.policy", '"sharde"', POLICIES)),
    Bad("policy in capitals", b'[context]\npolicy = "Shared"', ("context.policy", '"Shared"', POLICIES)),
    Bad("inherit", b'[context]\npolicy = "shared"\ninherit = "keys"', ("context.inherit", "sessions, context")),
    Bad("session", b'[context]\nsession = "one"', ("session", "per-thread, per-process, pool, per-operation")),
    Bad("locking", b"[context]\nlocking = false", ("context.locking", "false", "os, none")),
    Bad(
        "workload kind",
        b'[workload]\nkind = "verify"',
        ("workload.kind", "null, sign, random, session-churn, handshake"),
    ),
    Bad("key", b'[workload]\nkey = "p256"', ("workload.key", "ec-p256, ec-p384, rsa-2048, rsa-3072, rsa-4096")),
    Bad("mechanism", b'[workload]\nmechanism = "CKM_ECDSA"', ("workload.mechanism", "ECDSA, ECDSA_SHA1")),
    Bad("driver", b'[workload]\ndriver = "python"', ("workload.driver", "native, python-pkcs11")),
    Bad("load mode", b'[load]\nmode = "half"', ("load.mode", "open, closed")),
    Bad("arrivals", b'[load]\narrivals = "uniform"', ("load.arrivals", "poisson, paced")),
    # impossible combinations
    Bad("what is over no token", b'[token]\nover = "nss"', ("token.over", "p11kit-proxy", "p11kit-remote")),
    Bad(
        "reset_on_fork of another token",
        b'[token]\nkind = "p11kit-remote"\nover = "nss"\nreset_on_fork = true',
        ("token.reset_on_fork", "softhsm", "nss"),
    ),
    Bad(
        "a resource manager of another token",
        b"[token]\nresource_manager = true",
        ("token.resource_manager", "tpm2", "softhsm"),
    ),
    Bad(
        "more keys than a TPM holds",
        b'[token]\nkind = "tpm2"\n[topology]\nprocesses = 3',
        ("token.resource_manager", "3 contexts", "the 2 keys", "set it to true"),
    ),
    Bad("threads on prefork", b"[topology]\nthreads = 4", ("topology.threads", "prefork", "worker")),
    Bad("processes on threads", b'[topology]\nkind = "threads"\nprocesses = 2', ("topology.processes", "use 1")),
    Bad(
        "more than 2000 threads",
        b'[topology]\nkind = "worker"\nprocesses = 200\nthreads = 11',
        ("topology.threads", "2200", "2000"),
    ),
    Bad(
        "shared between threads alone",
        b'[topology]\nkind = "threads"\n[context]\npolicy = "shared"',
        ("context.policy", "threads", "per-process"),
    ),
    Bad(
        "shared across exec",
        b'[topology]\nkind = "spawn"\n[context]\npolicy = "shared"',
        ("context.policy", "spawn", "per-process"),
    ),
    Bad(
        "a broker of what is behind p11-kit already",
        b'[token]\nkind = "p11kit-remote"\nover = "tpm2"\n[context]\npolicy = "broker"',
        ("context.policy", "p11kit-remote", "token.kind = tpm2"),
    ),
    Bad(
        "a parent with a broker's context",
        b'[topology]\nfork_point = "threads-busy"\n[context]\npolicy = "broker"',
        ("topology.fork_point", "shared or reinit"),
    ),
    Bad(
        "a broker's context that is inherited",
        b'[context]\npolicy = "broker"\ninherit = "context"',
        ("context.inherit", "shared", "broker"),
    ),
    Bad(
        "a busy parent without a context",
        b'[topology]\nfork_point = "threads-busy"',
        ("topology.fork_point", "shared or reinit"),
    ),
    Bad(
        "a parent that signs with no key",
        b'[topology]\nfork_point = "mid-operation"\n[context]\npolicy = "shared"\n[workload]\nkind = "random"',
        ("topology.fork_point", "sign"),
    ),
    Bad(
        "half an operation of python-pkcs11",
        b'[topology]\nfork_point="mid-operation"\n[context]\npolicy="shared"\n[workload]\ndriver="python-pkcs11"',
        ("topology.fork_point", "python-pkcs11", "native"),
    ),
    Bad(
        "half an operation in a session of its own",
        b'[topology]\nfork_point="mid-operation"\n[context]\npolicy="shared"\nsession="per-operation"',
        ("topology.fork_point", "per-operation", "pool"),
    ),
    Bad("busy threads while idle", b"[topology]\nbusy_threads = 2", ("topology.busy_threads", "threads-busy")),
    Bad("inherit without shared", b'[context]\ninherit = "context"', ("context.inherit", "shared", "per-process")),
    Bad("a pool size without a pool", b"[context]\npool_size = 3", ("context.pool_size", "pool", "per-thread")),
    Bad(
        "a context of nothing",
        b'[workload]\nkind = "null"\n[context]\npolicy = "shared"',
        ("context.policy", "null"),
    ),
    Bad("a session of nothing", b'[workload]\nkind="null"\n[context]\nsession = "pool"', ("context.session", "null")),
    Bad("a driver of nothing", b'[workload]\nkind = "null"\ndriver = "native"', ("workload.driver", "null")),
    Bad("a key for random", b'[workload]\nkind = "random"\nkey = "ec-p256"', ("workload.key", "sign")),
    Bad("a mechanism for churn", b'[workload]\nkind="session-churn"\nmechanism="ECDSA"', ("mechanism", "sign")),
    Bad("RSA with an EC key", b'[workload]\nkey = "ec-p384"\nmechanism = "RSA_PKCS"', ("mechanism", "ec-p384")),
    Bad("ECDSA with an RSA key", b'[workload]\nkey = "rsa-2048"\nmechanism = "ECDSA"', ("mechanism", "rsa-2048")),
    Bad("clients for sign", b"[load]\nclients = 8", ("load.clients", "one client per worker thread")),
    Bad("a rate in a closed loop", b'[load]\nmode = "closed"\nrate_hz = 5', ("load.rate_hz", "open")),
    Bad("arrivals in a closed loop", b'[load]\nmode = "closed"\narrivals = "paced"', ("load.arrivals", "open")),
    Bad(
        "more operations than fit",
        b"[load]\nrate_hz = 1000000\nduration_s = 60",
        ("load.rate_hz", "50000000"),
    ),
    Bad("a time-out inside the load", b"timeout_s = 3\n[load]\nduration_s = 5", ("timeout_s", "cut")),
    Bad(
        "locking os in python-pkcs11",
        b'[workload]\ndriver = "python-pkcs11"\n[context]\nlocking = "os"',
        ("context.locking", "python-pkcs11", "none"),
    ),
    *HANDSHAKES,
    *REAL_SERVERS,
    # tokens
    Bad("a module without a path", b'[token]\nkind = "module"', ("token.path", "missing")),
    Bad("a module without a token", b'[token]\nkind="module"\npath="/m.so"', ("token.token_label", "missing")),
    Bad("a module without a key", MODULE + b'pin_env = "PIN"', ("token.key_label", "missing")),
    Bad("a module without a PIN", MODULE + b'key_label = "k"', ("token.pin_env", "pin_file")),
    Bad("a module with two PINs", MODULE + b'key_label="k"\npin_env="P"\npin_file="f"', ("token.pin_env", "pin_file")),
    Bad("a path for softhsm", b'[token]\npath = "/m.so"', ("token.path", "module")),
    Bad("a provision for softhsm", b"[token]\nprovision = true", ("token.provision", "module")),
    Bad("reset_on_fork of a module", MODULE + b"reset_on_fork = true", ("token.reset_on_fork", "softhsm")),
    Bad("a PIN", MODULE + f'pin = "{SECRET}"'.encode(), ("token.pin", *PIN)),
    Bad("a PIN under another name", MODULE + f"user_pin = {SECRET}".encode(), ("token.user_pin", *PIN)),
    Bad("a PIN in no table", f'pin = "{SECRET}"'.encode(), ("pin", *PIN)),
    Bad("a PIN in an arm", f'[[arm]]\nname = "a"\ntoken.pin = "{SECRET}"'.encode(), ('arm "a"', "token.pin", *PIN)),
    Bad("a PIN in the matrix", f'[matrix]\n"token.pin" = ["{SECRET}"]'.encode(), ("token.pin", *PIN)),
    Bad("a PIN for a variable", MODULE + f"pin_env = {SECRET}".encode(), ("token.pin_env", "environment variable")),
    Bad("a PIN as a variable", MODULE + f'pin_env = "{SECRET}"'.encode(), ("token.pin_env", "environment variable")),
    Bad("a PIN for the token", f'token = "{SECRET}"'.encode(), ("token", "a table")),
    Bad("a number in the environment", f"[token]\nenvironment.P = {SECRET}".encode(), ("token.environment.P", "text")),
    Bad("a PIN by --set", MODULE, ("--set token.pin", *PIN), (f"token.pin={SECRET}",)),
    Bad("an override that is a PIN", MODULE, ("--set", "KEY=VALUE"), (SECRET,)),
    # arms
    Bad("arm as a number", b"arm = 3", ("arm", "[[arm]]")),
    Bad("arms of numbers", b"arm = [3]", ("arm", "a table")),
    Bad("no arms", b"arm = []", ("arm", "an empty list")),
    Bad("an arm without a name", b'[[arm]]\ncontext.policy = "shared"', ('arm "number 1"', "name", "missing")),
    Bad("an arm called a path", b'[[arm]]\nname = "a/b"', ("name", "letters, digits")),
    Bad("two arms of one name", b'[[arm]]\nname = "a"\n[[arm]]\nname = "a"', ("arm", 'two arms are called "a"')),
    Bad("a wrong value in an arm", b'[[arm]]\nname="s"\ncontext.policy="sharde"', ('arm "s"', "policy", POLICIES)),
    Bad("an unknown key in an arm", b'[[arm]]\nname = "s"\ncontext.polcy = "x"', ('arm "s"', "did you mean policy?")),
    Bad("blocks in an arm", b'[[arm]]\nname = "s"\nblocks = 3', ('arm "s"', "blocks")),
    Bad(
        "an arm at odds with its base",
        b'[topology]\nkind="worker"\nthreads=4\n[[arm]]\nname="w"\n[[arm]]\nname="p"\ntopology.kind="prefork"',
        ('arm "p"', "topology.threads"),
    ),
    # matrix
    Bad("a matrix of itself", b'[matrix]\n"matrix.topology.processes" = [1]', ("matrix.topology", "cyclic")),
    Bad("a matrix of arms", b'[matrix]\n"arm.a.load.rate_hz" = [1]', ("matrix", "cyclic")),
    Bad("a matrix of a table", b'[matrix]\n"topology" = [1]', ("matrix.topology", "is a table")),
    Bad("a matrix of blocks", b"[matrix]\nblocks = [1, 2]", ("matrix.blocks", "whole scenario")),
    Bad("a matrix of no key", b'[matrix]\n"topology.procesess" = [1]', ("matrix", "did you mean processes?")),
    Bad("a matrix of nothing known", b'[matrix]\n"zzz.a" = [1]', ('matrix."zzz.a"', "no such key")),
    Bad("an empty matrix", b"[matrix]", ("matrix", "a table of one or more keys")),
    Bad("an empty list in a matrix", b'[matrix]\n"topology.processes" = []', ("topology.processes", "an empty list")),
    Bad("no list in a matrix", b'[matrix]\n"topology.processes" = 4', ("topology.processes", "a list")),
    Bad("a value twice", b'[matrix]\n"topology.processes" = [1, 2, 1]', ("topology.processes", "given twice")),
    Bad("a list in a list", b'[matrix]\n"topology.processes" = [[1]]', ("topology.processes", "plain values")),
    Bad("no process in a matrix", b'[matrix]\n"topology.processes" = [1, 0]', ("topology.processes", "1 to 200")),
    Bad("a policy in a matrix", b'[matrix]\n"context.policy" = ["sharde"]', ("context.policy", POLICIES)),
    Bad(
        "a matrix of 201 arms",
        b'[matrix]\n"load.rate_hz" = [' + b",".join(b"%d" % rate for rate in range(1, 202)) + b"]",
        ("matrix", "201", "200"),
    ),
    Bad(
        "a huge matrix",
        b"[matrix]\n"
        + b"\n".join(
            b'"%s" = [%s]' % (key, b",".join(b"%d" % value for value in range(1, 150)))
            for key in (
                b"topology.processes",
                b"topology.threads",
                b"load.rate_hz",
                b"load.duration_s",
                b"load.warmup_s",
            )
        ),
        ("matrix", "200"),
    ),
    Bad("matrix and arm on one key", TWO_ARMS + b'[matrix]\n"load.rate_hz" = [1]', ('arm "a"', "load.rate_hz")),
    Bad("a key twice in a matrix", b'[matrix]\n"load.rate_hz"=[1]\nload.rate_hz=[2]', ("load.rate_hz", "twice")),
    # margin and expect
    Bad("a margin of no metric", b'[margin]\n"response_ms.p98" = 0.1', ("margin", "response_ms.p9")),
    Bad("a margin of 0", b'[margin]\n"response_ms.p50" = 0', ("response_ms.p50", "between 0 and 1")),
    Bad("a margin of 5", b'[margin]\n"response_ms.p50" = 5', ("response_ms.p50", "between 0 and 1")),
    Bad("a margin of NaN", b"[margin]\nthroughput_hz = nan", ("margin.throughput_hz", "between 0 and 1")),
    Bad("an empty margin", b"[margin]", ("margin", "response_ms.p50")),
    Bad("an expectation of no arm", b'[expect]\n"arms.shared.fail" = 0', ("arms.shared.fail", "per-process")),
    Bad("an expectation of no figure", b'[expect]\n"arms.per-process.fails" = 0', ("fails", "did you mean fail?")),
    Bad("an expectation of nothing", b"[expect]\narm = 0", ("expect.arm", "did you mean arms?")),
    Bad("an expectation of no rule", b'[expect]\n"arms.per-process.rules.no-crsh.count"=0', ("no-crsh", "no-crash")),
    Bad("an expectation of no nonces", b'[expect]\n"arms.per-process.nonces.prven" = true', ("prven", "mean proven?")),
    Bad(
        "an expectation of no verdict",
        b'[expect]\n"arms.per-process.rules.no-crash.verdict" = "ok"',
        ("no-crash.verdict", "conforms, violates, undefined, not-exercised"),
    ),
    Bad("an expected list", b"[expect]\nvalid = [true]", ("expect.valid", "a list")),
    Bad("an expected NaN", b"[expect]\nseed = nan", ("expect.seed", "nan")),
    # overrides
    Bad("an override without a value", MODULE, ("--set", "KEY=VALUE"), ("blocks",)),
    Bad("an override without a key", MODULE, ("--set", "KEY=VALUE"), ("=6",)),
    Bad("an override of no key", b"blocks = 2", ("--set load.duratin_s", "duration_s"), ("load.duratin_s=1",)),
    Bad("an override of a wrong type", b"blocks = 2", ("--set blocks", "whole number"), ("blocks=many",)),
    Bad("an override of no policy", b"blocks = 2", ("--set context.policy", POLICIES), ("context.policy=sharde",)),
    Bad("an override inside a value", b'name = "x"', ("--set name.a", "not a table"), ("name.a=1",)),
    Bad("an override with a broken key", b"blocks = 2", ("--set", "dotted TOML key"), ("a b=1",)),
    Bad("an override of no arm", TWO_ARMS, ("--set arm.c.load.rate_hz", "a, b"), ("arm.c.load.rate_hz=1",)),
    Bad("an override of a whole arm", TWO_ARMS, ("--set arm.a", "arm.NAME.KEY=VALUE"), ("arm.a=1",)),
    Bad("an override in an arm", TWO_ARMS, ("--set arm.a.load.rate_hz", "above 0"), ("arm.a.load.rate_hz=0",)),
    Bad("an override that an arm hides", TWO_ARMS, ("--set load.rate_hz", "arm.a.load.rate_hz"), ("load.rate_hz=1",)),
    Bad(
        "an override that the matrix hides",
        b'[matrix]\n"topology.processes" = [1, 2]',
        ("--set topology.processes", "matrix.topology.processes"),
        ("topology.processes=4",),
    ),
    Bad(
        "an override that does not fit",
        b'[topology]\nkind = "prefork"',
        ("--set topology.threads", "prefork"),
        ("topology.threads=4",),
    ),
)
