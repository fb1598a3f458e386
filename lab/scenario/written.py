"""A scenario file as a person writes it: partial tables, arms that override them, a matrix."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from lab.scenario.models import (
    ARM_PATTERN,
    NAME_PATTERN,
    Closed,
    Context,
    Load,
    RealServer,
    Scalar,
    Timeout,
    Tls,
    Token,
    Topology,
    Workload,
)

TABLES: Final = ("token", "topology", "context", "workload", "tls", "server", "load")
"""The tables whose keys an arm or a matrix may override."""

METRICS: Final = (
    *(f"{group}.{name}" for group in ("response_ms", "service_ms") for name in ("p50", "p90", "p99", "p99.9", "max")),
    "throughput_hz",
    *(f"cold_ms.{step}" for step in ("initialize", "login", "find_key", "open_key", "tls_context")),
    *(f"cold_ms.{step}" for step in ("first_operation", "total")),
    *(f"where_ms.{part}.p50" for part in ("late", "accept", "waiting", "software", "token", "back")),
)
"""Figures of summary.json that arms are compared by."""

DEFAULT_BLOCKS: Final = 12

Fraction = Annotated[float, Field(gt=0, lt=1)]


class Tables(Closed):
    """What the file and each of its arms may say."""

    token: Token | None = Field(None, description="Where the key lives.")
    topology: Topology | None = Field(None, description="The process and thread shape.")
    context: Context | None = Field(
        None, description="Who owns the PKCS#11 context after the fork. Only where there is one."
    )
    workload: Workload | None = Field(None, description="What one operation is.")
    tls: Tls | None = Field(None, description="handshake only: who terminates TLS, and how it reaches the key.")
    server: RealServer | None = Field(
        None, description="tls.server = httpd, nginx, stunnel only: how it is run, and what happens to it."
    )
    load: Load | None = Field(None, description="How many operations, and when.")
    timeout_s: Timeout | None = Field(
        None,
        description="Seconds after which a trial is ended. Default: the load, 10 s, 0.1 s per process (0.6 s "
        "where it is spawned), tls.timeout_s for handshakes, and 10 s more for a real server.",
    )


class WrittenArm(Tables):
    """[[arm]]: a name, and the keys that this arm overrides."""

    name: str = Field(pattern=ARM_PATTERN, description="Name of the arm, as the summary and [expect] call it.")


class Written(Tables):
    """The whole file. Nested tables of margin, matrix and expect are flattened to dotted keys before."""

    name: str | None = Field(None, pattern=NAME_PATTERN, description="Default: the file's name.")
    question: str = Field("", max_length=1_000, description="The question that the scenario answers.")
    seed: int = Field(1, ge=0, le=2**63 - 1, description="Order of trials and arrival times follow from it.")
    blocks: Annotated[int, Field(ge=1, le=1_000)] | Literal["auto"] = Field(
        DEFAULT_BLOCKS,
        description="Trials of each arm. Comparisons need 6 or more: 7 for two or three metrics, 8 for up to six. "
        "auto: a pilot of 4 blocks chooses from 6 to 60, before the measured trials begin.",
    )
    skip_unusable: bool = Field(
        False,
        description="true leaves out the arms whose token kind does not work on this machine, and says so. Otherwise "
        "such an arm ends the run before it begins.",
    )
    margin: dict[str, Fraction] | None = Field(
        None, min_length=1, description="For each compared metric, the relative difference that does not matter."
    )
    arm: list[WrittenArm] | None = Field(
        None,
        min_length=1,
        description="The arms to compare, each with the first; each overrides keys of the tables.",
    )
    matrix: dict[str, Annotated[list[Any], Field(min_length=1)]] | None = Field(
        None, min_length=1, description="Keys with lists of values: every combination becomes an arm (200 at most)."
    )
    expect: dict[str, Scalar] | None = Field(
        None,
        description="Paths of summary.json with the values that they must have, or limits such as '> 0'; "
        "otherwise exit status 3.",
    )
