"""What the columns of each DataFrame mean: the frames are made to this table, and docs/api.md is tested against it."""

from __future__ import annotations

from typing import Final, NamedTuple


class Column(NamedTuple):
    """dtype: pandas' name of it. A float64 is NaN, and a category missing, where nothing was measured."""

    dtype: str
    meaning: str


_TRIAL: Final = {
    "trial": Column("int32", "number of the trial, from 1, in the order in which they ran"),
    "block": Column("int32", "block of the trial, from 1; every block has each arm once"),
    "arm": Column("category", "name of the arm"),
}
_USABLE: Final = {"usable": Column("bool", "the trial is valid and whole, so its times may be read")}
_PROCESS: Final = {"process": Column("uint16", "index of the process in the trial: 0 the root, then the workers")}

OPERATIONS: Final = {
    **_TRIAL,
    **_USABLE,
    **_PROCESS,
    "thread": Column("uint16", "thread of the process; of a load generator: client"),
    "kind": Column("category", "sign, handshake, random, session_churn, null; or a step of the set-up"),
    "phase": Column("category", "setup, warmup, measured (which figures are of), ... as dtypes.PHASE"),
    "sequence": Column("uint32", "place in its thread's plan, from 0"),
    "vhost": Column("uint16", "virtual host; 0 where there is one only"),
    "intended_ms": Column("float64", "ms from the release to the planned start; NaN in a closed loop and set-up"),
    "started_ms": Column("float64", "ms from the release to the start"),
    "ended_ms": Column("float64", "ms from the release to the end; NaN where it never ended"),
    "response_ms": Column("float64", "ms from the planned start to the end; NaN where either is missing"),
    "service_ms": Column("float64", "ms from the start to the end; NaN where it never ended"),
    "lag_ms": Column("float64", "ms from the planned start to the start; NaN without a planned start"),
    "outcome": Column("category", "ok, fail or info (it began and never ended)"),
    "layer": Column("category", "of a failure: pkcs11, tls, network, openssl, ...; otherwise missing"),
    "code": Column("category", "of a failure: name of its code, such as CKR_SESSION_HANDLE_INVALID; otherwise missing"),
    "function": Column("category", "of a failure: PKCS#11 function that failed; otherwise missing"),
    "session": Column("uint64", "session handle"),
    "verified": Column("category", "right or wrong, of a signature that was checked; otherwise missing"),
}

CALLS: Final = {
    **_TRIAL,
    **_USABLE,
    **_PROCESS,
    "role": Column("category", "root, worker, generator, master or other"),
    "pid": Column("uint32", "process id"),
    "tid": Column("uint32", "thread id"),
    "function": Column("category", "PKCS#11 function"),
    "started_ms": Column("float64", "ms from the release to the call"),
    "ended_ms": Column("float64", "ms from the release to its return; NaN where it never returned"),
    "took_ms": Column("float64", "ms from the call to its return; NaN where it never returned"),
    "session": Column("uint64", "session handle"),
    "object": Column("uint64", "object handle, or 0"),
    "ckr": Column("category", "what it returned, such as CKR_OK; missing where it never returned"),
}

SESSIONS: Final = {
    **_TRIAL,
    **_USABLE,
    **_PROCESS,
    "at_ms": Column("float64", "ms from the release to the change"),
    "open": Column("int32", "sessions of this process that are open from then on"),
}

TRIALS: Final = {
    **_TRIAL,
    **_USABLE,
    "why_not": Column("str", "why it is not usable; empty where it is"),
    "warmup": Column("category", "flat, warming, slowing or unstable; missing with fewer than 100 operations"),
    "noise": Column("str", "what else on the machine disturbed it; empty where nothing did, or nobody listened"),
    "planned": Column("int64", "operations planned: ok + fail + info + shed"),
    "ok": Column("int64", "operations that ended well"),
    "fail": Column("int64", "operations that failed"),
    "info": Column("int64", "operations that began and never ended"),
    "shed": Column("int64", "operations that never began"),
    "wrong": Column("int64", "signatures that do not verify"),
    "duration_s": Column("float64", "s of the measured time"),
    "throughput_hz": Column("float64", "operations per s that ended well within the measured time"),
    **{
        f"{name}_{unit}.{quantile}": Column("float64", f"{quantile} of {words}, ms; NaN where too few for it")
        for name, unit, words in (
            ("response", "ms", "the response (planned start to end)"),
            ("service", "ms", "the service (start to end)"),
            ("lag", "ms", "the lag (planned start to start)"),
        )
        for quantile in ("p50", "p90", "p99", "p99.9", "max")
    },
    **{
        f"cold_ms.{step}": Column("float64", f"median of the workers' {step.replace('_', ' ')}, ms, at the cold start")
        for step in (
            *("load", "finalize", "initialize", "find_token", "open_session", "login", "find_key", "open_key"),
            *("tls_context", "first_operation", "total"),
        )
    },
    "pss_mib": Column("float64", "median memory of a worker (proportional set size), MiB"),
    "workers": Column("int64", "workers that came to life"),
    "crashed": Column("int64", "processes that a signal ended"),
    "hung": Column("int64", "processes that were killed because they hung"),
    "sessions_opened": Column("int64", "sessions opened"),
    "sessions_leaked": Column("int64", "sessions still open when their process ended"),
    "sessions_peak_process": Column("int64", "most sessions open at once in one process"),
    "sessions_peak": Column("int64", "most sessions open at once in all processes together"),
}

FAILURES: Final = {
    **_TRIAL,
    **_USABLE,
    **_PROCESS,
    "layer": Column("category", "pkcs11, tls, network, openssl, wrong-result, signal, hang or exit"),
    "code": Column("category", "its name: a CKR code, an alert, a signal, ..."),
    "functions": Column("str", "PKCS#11 functions that it came from, with a blank between"),
    "count": Column("int64", "how often"),
    "setup": Column("int64", "how many of these before the load: in the set-up, or as the first operation"),
    "side": Column("category", "of a handshake: client or server, who saw it; otherwise missing"),
    "first_ms": Column("float64", "ms from the release to the first; NaN where its time is not known"),
    "last_ms": Column("float64", "ms from the release to the last; NaN where its time is not known"),
}

RULES: Final = {
    **_TRIAL,
    **_USABLE,
    "rule": Column("category", "name of the rule"),
    "verdict": Column("category", "conforms, violates, undefined or not-exercised"),
    "count": Column("int64", "how often it was broken"),
    "processes": Column("int64", "in how many processes"),
    "at_ms": Column("float64", "ms from the release to the first violation; NaN where there is none"),
    "evidence": Column("str", "the first case, in words; empty where there is none"),
}

COMPARISONS: Final = {
    "metric": Column("str", "what is compared, such as response_ms.p99"),
    "baseline": Column("str", "arm that the other is divided by"),
    "arm": Column("str", "arm that is compared"),
    "ratio": Column("float64", "arm / baseline; NaN where there is none"),
    "ci_low": Column("float64", "lower end of the ratio's 95 % interval"),
    "ci_high": Column("float64", "upper end of it"),
    "margin": Column("float64", "difference that the scenario calls relevant, as a fraction"),
    "verdict": Column("category", "equivalent, faster, slower, inconclusive or not-comparable"),
    "because": Column("str", "why it is inconclusive or not comparable; otherwise empty"),
    "p_value": Column("float64", "of the test that there is no difference"),
    "p_adjusted": Column("float64", "the same, corrected for several metrics (Holm)"),
    "blocks": Column("int64", "blocks that have the figure in both arms"),
    "blocks_to_decide": Column("float64", "blocks that would decide, where inconclusive for want of them"),
}

ARMS: Final = {
    "arm": Column("str", "name of the arm"),
    "token": Column("str", "kind of the token; empty where there is none"),
    "topology": Column("str", "kind of the topology; empty for a server that the lab did not start"),
    "processes": Column("int64", "workers"),
    "threads": Column("int64", "threads of each"),
    "context": Column("str", "context policy; empty where there is no context"),
    "workload": Column("str", "kind of the workload"),
    "rate_hz": Column("float64", "planned operations per s; NaN in a closed loop"),
    "trials": Column("int64", "trials that there are"),
    **{name: Column("int64", TRIALS[name].meaning) for name in ("planned", "ok", "fail", "info", "shed", "wrong")},
    "throughput_hz": TRIALS["throughput_hz"],
    **{name: column for name, column in TRIALS.items() if "_ms." in name},
    **{
        f"{name}.{end}": Column("float64", f"{words} end of the 95 % interval of {name}; NaN where it has none")
        for name in (
            *(f"{group}_ms.{quantile}" for group in ("response", "service") for quantile in ("p50", "p90", "p99")),
            "throughput_hz",
        )
        for end, words in (("low", "lower"), ("high", "upper"))
    },
    "pss_mib": TRIALS["pss_mib"],
    **{
        name: Column("int64", TRIALS[name].meaning)
        for name in ("crashed", "hung", "sessions_opened", "sessions_leaked", "sessions_peak_process", "sessions_peak")
    },
}

FRAMES: Final = {
    "operations": OPERATIONS,
    "calls": CALLS,
    "sessions": SESSIONS,
    "trials": TRIALS,
    "failures": FAILURES,
    "rules": RULES,
    "comparisons": COMPARISONS,
    "arms_frame": ARMS,
}
"""The DataFrames of a Run, by the name of its attribute."""
