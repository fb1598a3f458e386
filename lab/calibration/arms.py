"""The scenarios of a calibration, as text: what a user could write too, but for the module, which is the lab's stub.

One is of many arms and one block, since each arm has an answer of its own that is known. The other is of two arms
that are the same, and of enough blocks for a verdict.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SEED: Final = 42688
COUNTED: Final = 23
COUNTED_PROCESSES: Final = 2
TOPOLOGIES: Final = ("prefork", "worker", "threads", "spawn")
SERVICES_MS: Final = (0.2, 1.0, 5.0)
STALL_MS: Final = 300.0
STALL_CALL: Final = 41
STALLED_SERVICE_MS: Final = 0.1
"""So short that the stub never sleeps for it: what queued up is worked off at once, on a busy machine too."""
QUEUE_SERVICE_MS: Final = 20.0
QUEUE_LOAD: Final = 0.5
SAME: Final = ("a", "b")
PIN_FILE: Final = "stub-pin"
_STUB_LABEL: Final = "stub"
_NS_PER_MS: Final = 1_000_000


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    scale: the stub takes so many times as long as is known of it, which a test wants to see found out; else 1.
    """

    topologies: tuple[str, ...] = TOPOLOGIES
    floor_s: float = 1.0
    service_s: float = 0.5
    stall_s: float = 1.5
    queues: int = 100
    queue_s: float = 10.0
    blocks: int = 12
    block_s: float = 0.5
    turns: int = 31
    scale: float = 1.0


FULL: Final = Settings()
QUICK: Final = Settings(
    topologies=("prefork",),
    floor_s=0.3,
    service_s=0.2,
    stall_s=0.7,
    queue_s=1.5,
    blocks=6,
    block_s=0.1,
    turns=15,
)


@dataclass(frozen=True)
class Place:
    """Where the stub is, and the private folder with what it needs."""

    stub: Path
    private: Path

    def make(self) -> None:
        """The PIN, which the stub does not look at, and the files in which it counts."""
        pin = self.private / PIN_FILE
        pin.write_text("any")
        pin.chmod(0o600)
        for name in ("signatures", "handshakes"):
            self.count(name).write_bytes(bytes(8))

    def count(self, name: str) -> Path:
        return self.private / f"count-{name}"

    def signed(self, name: str) -> int:
        """How many signatures the stub itself counted."""
        return int.from_bytes(self.count(name).read_bytes()[:8], "little")


def arms(settings: Settings, place: Place, parts: Collection[str]) -> dict[str, dict[str, Any]]:
    """The tables of each arm of the first scenario, by its name; of the parts that are wanted."""
    found: dict[str, dict[str, Any]] = {}
    if "floor" in parts:
        for kind in settings.topologies:
            topology = _shape(kind)
            null = {"kind": "null"}
            opened = {"rate_hz": 500, "warmup_s": 0.1, "duration_s": settings.floor_s}
            found[f"null-{kind}-open"] = {"topology": topology, "workload": null, "load": opened}
            closed = {"mode": "closed", "warmup_s": 0, "duration_s": 0.05}
            found[f"null-{kind}-closed"] = {"topology": topology, "workload": null, "load": closed}
        found["handshake-software"] = {
            "topology": _shape("prefork"),
            "workload": {"kind": "handshake", "key": "ec-p256"},
            "tls": {"bridge": "software"},
            "load": {"rate_hz": 100, "warmup_s": 0.1, "duration_s": settings.floor_s},
        }
    if "service" in parts:
        for service_ms in SERVICES_MS:
            found[f"service-{service_ms:g}ms"] = {
                "topology": {"kind": "prefork", "processes": 1},
                **_signing(place, service_ms * settings.scale),
                "load": {"mode": "closed", "warmup_s": 0.05, "duration_s": settings.service_s},
            }
    if "stall" in parts:
        found["stall"] = {
            "topology": {"kind": "prefork", "processes": 1},
            **_signing(place, STALLED_SERVICE_MS * settings.scale, stall_ms=STALL_MS * settings.scale),
            "load": {"rate_hz": 200, "warmup_s": 0, "duration_s": settings.stall_s},
        }
    if "queue" in parts:
        per_queue_hz = QUEUE_LOAD * 1000 / QUEUE_SERVICE_MS
        found["queue"] = {
            "topology": {"kind": "threads", "threads": settings.queues},
            **_signing(place, QUEUE_SERVICE_MS * settings.scale),
            "load": {"rate_hz": settings.queues * per_queue_hz, "warmup_s": 1.0, "duration_s": settings.queue_s},
        }
    if "count" in parts:
        paced = {"arrivals": "paced", "warmup_s": 0}
        topology = {"kind": "prefork", "processes": COUNTED_PROCESSES}
        found["count-signatures"] = {
            "topology": topology,
            **_signing(place, 0, count=place.count("signatures")),
            "load": {**paced, "rate_hz": 10 * COUNTED, "duration_s": 0.1},
        }
        found["count-handshakes"] = {
            "topology": topology,
            **_signing(place, 0, count=place.count("handshakes"), kind="handshake"),
            "load": {**paced, "rate_hz": 2 * COUNTED, "duration_s": 0.5},
        }
    return found


def measures(settings: Settings, place: Place, parts: Collection[str]) -> str:
    """The scenario of known answers; "" where no part needs it."""
    tables = arms(settings, place, parts)
    return _text("calibration", "What does the lab cost, and does it find what is known?", 1, tables) if tables else ""


def same(settings: Settings) -> str:
    """The scenario of two arms that are the same: P-256 on SoftHSM, in two processes."""
    tables: dict[str, Any] = {
        "topology": {"kind": "prefork", "processes": 2},
        "workload": {"kind": "sign", "key": "ec-p256"},
        "load": {"rate_hz": 400, "warmup_s": 0.1, "duration_s": settings.block_s},
    }
    margin = {"response_ms.p50": 0.05, "service_ms.p50": 0.05, "throughput_hz": 0.05}
    question = "Is a difference found where there is none?"
    return _text("calibration-same", question, settings.blocks, dict.fromkeys(SAME, tables), margin)


def _shape(kind: str) -> dict[str, Any]:
    processes = {} if kind == "threads" else {"processes": 2}
    return {"kind": kind, **processes, **({"threads": 2} if kind in ("worker", "threads") else {})}


def _signing(
    place: Place, service_ms: float, stall_ms: float = 0, count: Path | None = None, kind: str = "sign"
) -> dict[str, Any]:
    told = {"LAB_STUB_SERVICE_NS": str(round(service_ms * _NS_PER_MS))}
    if stall_ms:
        told |= {"LAB_STUB_STALL_CALL": str(STALL_CALL), "LAB_STUB_STALL_NS": str(round(stall_ms * _NS_PER_MS))}
    if count:
        told["LAB_STUB_COUNT"] = str(count)
    token = {
        "kind": "module",
        "path": str(place.stub),
        "token_label": _STUB_LABEL,
        "key_label": _STUB_LABEL,
        "pin_file": str(place.private / PIN_FILE),
        "environment": told,
    }
    return {"token": token, "workload": {"kind": kind, "key": "ec-p256"}}


def _text(
    name: str,
    question: str,
    blocks: int,
    tables: Mapping[str, Mapping[str, Any]],
    margin: Mapping[str, float] | None = None,
) -> str:
    lines = [f"name = {json.dumps(name)}", f"question = {json.dumps(question)}", f"seed = {SEED}", f"blocks = {blocks}"]
    if margin:
        lines += ["[margin]", *(f"{json.dumps(metric)} = {value}" for metric, value in margin.items())]
    for arm, its in tables.items():
        lines += ["[[arm]]", f"name = {json.dumps(arm)}", *(f"{table} = {_toml(keys)}" for table, keys in its.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """A value as TOML has it in one line. Its strings, numbers and truth values are JSON's."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)
