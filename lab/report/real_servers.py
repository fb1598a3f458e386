"""What the terminal says of real servers: what their context amounted to, restarts, and causes that were diagnosed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from lab.report import words
from lab.report.words import count, counted, significant

Arm = Mapping[str, Any]
Line = tuple[str, Callable[[Arm], str]]
Told = tuple[str, str, str]
"""An arm's name, what is said of it, and the evidence ("" where there is none)."""


def _real(arm: Arm, name: str) -> Any:
    return (arm.get("real_server") or {}).get(name)


def _setting(name: str) -> Any:
    def text(arm: Arm) -> str:
        value = (_real(arm, "settings") or {}).get(name)
        if value is None:
            return words.MISSING
        return (
            ("no", "yes")[value] if isinstance(value, bool) else f"{value:g} s" if name.endswith("_s") else str(value)
        )

    return text


SETTINGS: Final[tuple[Line, ...]] = (
    ("bridge library", _setting("bridge_library")),
    ("foreground", _setting("foreground")),
    ("env lines", _setting("env_lines")),
    ("reload at", _setting("reload_at_s")),
    ("kill at", _setting("kill_at_s")),
)
USUAL: Final = {"foreground": "yes", "env lines": "yes"}


def _kinds(who: str) -> Callable[[Arm], str]:
    def text(arm: Arm) -> str:
        found = {kind: number for kind, number in _real(arm, "processes")[who].items() if number}
        return ", ".join(f"{number:,} {kind}" for kind, number in found.items()) or words.MISSING

    return text


def _lazily(arm: Arm) -> str:
    """Of workers that initialised afresh: how many only with their first handshake."""
    found = _real(arm, "initialized")
    known = found["with_first_handshake"] + found["before_first_handshake"]
    return f"{found['with_first_handshake']:,} of {known:,}" if known else words.MISSING


def _sessions(arm: Arm) -> str:
    found = _real(arm, "sessions")
    return f"{significant(found['peak']['median'])} / {significant(found['peak']['max'])}"


AMOUNTED_TO: Final[tuple[Line, ...]] = (
    ("server", lambda arm: str(_real(arm, "version") or _real(arm, "name"))),
    ("policy", lambda arm: str(_real(arm, "policy"))),
    ("master", _kinds("master")),
    ("workers", _kinds("workers")),
    ("at first handshake", _lazily),
    ("contexts made", lambda arm: count(_real(arm, "contexts"))),
    ("logins", lambda arm: count(_real(arm, "logins"))),
    ("sessions, median / most", _sessions),
    ("start until it listens, ms", lambda arm: significant(_real(arm, "ready_ms"))),
)


def diagnoses(arms: Mapping[str, Arm]) -> Iterator[Told]:
    """The causes that were found."""
    for name, arm in arms.items():
        for cause, found in (arm.get("diagnosis") or {}).items():
            if found["count"]:
                who = counted(found["processes"], "process", "processes")
                often = f", {counted(found['count'], 'time')}" if found["count"] != found["processes"] else ""
                yield name, f"{cause}: {who} {words.CAUSE.get(cause, 'showed it')}{often}", found["evidence"] or ""


def restarts(arms: Mapping[str, Arm]) -> Iterator[Told]:
    """Reloads, children of few connections, and kills in words."""
    for name, arm in arms.items():
        if found := _real(arm, "restart"):
            yield from ((name, line, "") for line in _restart(found))
        if found := _real(arm, "kill"):
            yield name, _kill(found), ""


def _restart(found: Mapping[str, Any]) -> Iterator[str]:
    old, children, people = found["old"], found["children"], found["population"]
    reload = bool(found["reloads"])
    text = (
        f"{counted(found['reloads'], 'reload')}: workers"
        if reload
        else "children that ended and were replaced: workers"
    )
    text += f" {count(people['before'])} before, {people['peak']:,} at most{' (doubled)' if people['doubled'] else ''}"
    left = old["left"] + old["stayed"]
    text += f"; {old['left']:,} of {left:,} old ones left during the load"
    if old["leave_ms"]["max"] is not None:
        text += f", after {_spread(old['leave_ms'])}"
    sessions = found["sessions"]
    if people["none_ms"]["max"]:
        text += f"; none at all for {_spread(people['none_ms'])}"
    before = f"{count(sessions['before'])} before, " if reload else ""
    yield f"{text}; sessions open: {before}{sessions['peak']:,} at most"
    if reload:
        parts = ((part, found["handshakes"][part]) for part in ("before", "within", "after"))
        told = [f"{one['fail']:,} of {one['ok'] + one['fail']:,} {part}" for part, one in parts]
        settled = "" if found["settled_ms"] is None else f" (it took {significant(found['settled_ms'])} ms)"
        yield f"handshakes that failed: {', '.join(told)} the reload{settled}"
    if not children["born"]:
        yield "no worker was born"
        return
    text = f"{counted(children['born'], 'new worker')}, of which {children['served']:,} served"
    for figure, said in (
        ("to_first_handshake_ms", "first handshake done"),
        ("first_handshake_ms", "that handshake took"),
        ("cold_start_ms", "C_Initialize to first signature"),
    ):
        if children[figure]["max"] is not None:
            text += f"; {said} {_spread(children[figure])}{' after birth' if figure.startswith('to_') else ''}"
    yield text


def _kill(found: Mapping[str, Any]) -> str:
    text = f"{counted(found['killed'], 'worker')} killed: "
    if found["replaced"]:
        text += f"{found['replaced']:,} replaced, first handshake of the new one {_spread(found['replaced_ms'])} later"
    else:
        text += "no new one served a handshake"
    return f"{text}; {counted(found['fail'], 'handshake')} failed meanwhile"


def _spread(figures: Mapping[str, float | None]) -> str:
    median, most = significant(figures["median"]), significant(figures["max"])
    return f"{median} ms" if median == most else f"{median} ms (at most {most})"
