"""Judges of threads of one process, and of processes, that are in the module at the same time."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Final

from lab.probe.line import Judgement, Line
from lab.probe.lines.answers import NO_ROOM, OK, counted, sentence, tallied, tallies
from lab.probe.lines.endings import badly_ended, how_they_ended, not_ready
from lab.probe.seen import Call, Seen
from lab.record.names import ckr_name, ckr_number

_CANT_LOCK: Final = 0xA
_OPERATION_ACTIVE: Final = 0x90
_OPERATION_NOT_INITIALIZED: Final = 0x91
_USER_ALREADY_LOGGED_IN: Final = 0x100
_ALREADY_INITIALIZED: Final = 0x191
_SHARED: Final = (OK, _OPERATION_ACTIVE, _OPERATION_NOT_INITIALIZED)


def initialize_in_threads(seen: Seen) -> Judgement:
    """One CKR_OK in each round. What comes of a race is left open; that a later call is told of it is not."""
    calls = [call for call in seen.calls if call.who.startswith("thread") and call.name == "C_Initialize"]
    if calls and all(call.ckr == _CANT_LOCK for call in calls):
        return Judgement("conforms", "C_Initialize answered CKR_CANT_LOCK, as it may.")
    raced = _one_of_them(seen, calls, "C_Initialize", _ALREADY_INITIALIZED)
    if seen.facts.get("process found no token") and OK in [call.ckr for call in calls]:
        told = f"{counted(call.ckr for call in calls)}. After that C_GetSlotList no longer found the token."
        raced = Judgement("violates", f"C_Initialize: {told}")
    again = seen.of("process", "C_Initialize")
    if again and again[-1].ckr == OK:
        return Judgement("violates", f"{raced.seen} Once more, and alone, it answered CKR_OK.")
    return Judgement("undefined", raced.seen) if raced.verdict == "violates" else raced


def login_in_threads(seen: Seen) -> Judgement:
    """One CKR_OK in each round."""
    calls = [call for call in seen.calls if call.who.startswith("thread") and call.name == "C_Login"]
    if calls and len({call.who for call in calls}) < 2:
        return Judgement("not-exercised", "The token has one session only.")
    return _one_of_them(seen, calls, "C_Login", _USER_ALREADY_LOGGED_IN)


def _one_of_them(seen: Seen, calls: list[Call], name: str, others: int) -> Judgement:
    if not calls:
        return not_ready(seen, "process")
    rounds: dict[int, list[Call]] = defaultdict(list)
    for call in calls:
        rounds[call.facts["round"]].append(call)
    if ends := badly_ended(seen, "process"):
        before = counted(call.ckr for call in calls)
        return Judgement(
            "violates", f"{sentence(how_they_ended(seen, ends))}, in round {len(rounds)}. {name}: {before}."
        )
    if OK not in (answers := {call.ckr for call in calls}) and None not in answers:
        return Judgement("not-exercised", f"{name} works for none: {counted(call.ckr for call in calls)}.")
    wrong = [
        (number, made)
        for number, made in rounds.items()
        if sorted(call.ckr if call.ckr is not None else -1 for call in made) != [OK, *[others] * (len(made) - 1)]
    ]
    threads = len({call.who for call in calls})
    if not wrong:
        return Judgement(
            "conforms",
            f"In each of {len(rounds)} rounds with {threads} threads one got CKR_OK and the others {ckr_name(others)}.",
        )
    number, made = wrong[0]
    return Judgement(
        "violates",
        f"In {len(wrong)} of {len(rounds)} rounds with {threads} threads {name} did not answer one CKR_OK and else "
        f"{ckr_name(others)}. Round {number}: {counted(call.ckr for call in made)}.",
    )


def initialize_in_processes(seen: Seen) -> Judgement:
    """All succeed, and find the token."""
    lost = sum(name.endswith(" found no token") for name in seen.facts)
    return _all_of_them(seen, "C_Initialize", f"{lost} of them did not find the token then." if lost else "")


def login_in_processes(seen: Seen) -> Judgement:
    """All succeed, and sign rightly where there is a key."""
    wrong = [one.who for one in seen.outputs if one.data and one.right is False]
    return _all_of_them(seen, "C_Login", f"{wrong[0]} signed wrongly then." if wrong else "")


def _all_of_them(seen: Seen, name: str, also: str) -> Judgement:
    calls = [call for call in seen.calls if call.who.startswith("process") and call.name == name]
    if len(calls) < 2:
        return not_ready(seen, "process 1")
    alone = seen.of("lone process", name)
    if alone and alone[0].ckr not in (None, OK):
        return Judgement("not-exercised", f"{name} answers {ckr_name(alone[0].ckr or 0)} to a lone process, too.")
    pids = {call.pid for call in calls if call.ckr is None}
    ends = [end for end in badly_ended(seen, "process") if end.pid in pids]
    answers = {call.ckr for call in calls}
    told = f"{name} in {len(calls)} processes at once: {counted(call.ckr for call in calls)}."
    if also:
        told += f" {sentence(also)}"
    if ends:
        told += f" {sentence(how_they_ended(seen, ends[:2]))}."
    if answers == {OK} and not also:
        return Judgement("conforms", told)
    if answers <= NO_ROOM | {OK} and not also:
        return Judgement("undefined", f"{told} The token may have room for so many only.")
    return Judgement("violates", told)


def threads_without_locking(seen: Seen) -> Judgement:
    """Whatever happens."""
    told = _of_loops(seen)
    if told is None:
        return not_ready(seen, "process")
    refused = any(_answer(name) != OK for name in tallies(seen))
    return Judgement("undefined", f"{told[0] or ('Calls were refused' if refused else 'All went well')}. {told[1]}")


def threads_with_locking(seen: Seen) -> Judgement:
    """Right signatures, and no refusals but those of a token that has no room."""
    if seen.answer("process", "C_Initialize") == _CANT_LOCK:
        return Judgement("conforms", "C_Initialize answered CKR_CANT_LOCK, as it may.")
    told = _of_loops(seen)
    if told is None:
        return not_ready(seen, "process")
    went_wrong, answers = told
    refusals = {_answer(name) for name in tallies(seen)} - {OK}
    if went_wrong:
        return Judgement("violates", f"{went_wrong}. {answers}")
    if refusals - NO_ROOM:
        return Judgement("violates", f"Calls in sessions of their own were refused. {answers}")
    if refusals:
        return Judgement("undefined", f"The token may have room for so many only. {answers}")
    signed = any(one.data for one in seen.outputs)
    return Judgement("conforms", f"All signatures are right. {answers}" if signed else answers)


def shared_session(seen: Seen) -> Judgement:
    """The answers that are named for an operation that is active, or is not, conform; the rest is left open."""
    told = _of_loops(seen)
    if told is None:
        return not_ready(seen, "process")
    went_wrong, answers = told
    if went_wrong:
        return Judgement("undefined", f"{went_wrong}. {answers}")
    if {_answer(name) for name in tallies(seen)} <= set(_SHARED):
        return Judgement("conforms", f"Each signature that was given is right. {answers}")
    return Judgement("undefined", answers)


def _of_loops(seen: Seen) -> tuple[str, str] | None:
    """What went wrong ("" for nothing), and what was answered; None where no two threads came to their loop."""
    loops = {call.who for call in seen.calls if call.who.startswith("thread")}
    ends = badly_ended(seen, "process")
    if not loops or (len(loops) < 2 and not ends):
        return None
    wrong = []
    if ends:
        wrong.append(sentence(how_they_ended(seen, ends)))
    bad = Counter(one.right for one in seen.outputs if one.data)
    if bad[False]:
        wrong.append(f"{bad[False]} of {bad[False] + bad[True]} signatures are wrong")
    tally = tallies(seen)
    said = (
        f"{len(loops)} threads: {tallied(tally)}."
        if tally
        else f"{len(loops)} threads; none came to the end of its loop."
    )
    return "; ".join(wrong), said


def _answer(counted_as: str) -> int:
    """The code of `C_Sign CKR_OK`; -1 for one without a name, which is a vendor's own."""
    number = ckr_number(counted_as.split()[1])
    return -1 if number is None else number


_LOCKING: Final = "PKCS #11 v2.40 base, 5.4 (C_Initialize)"
_THREADS: Final = "usage guide, Applications and threads"

LINES: Final = (
    Line(
        "initialize-in-processes",
        "threads",
        "C_Initialize in many processes at once",
        "Each process is an application, and each one should call C_Initialize.",
        f"{_LOCKING}; usage guide, Applications and processes",
        "many-processes",
        initialize_in_processes,
    ),
    Line(
        "initialize-in-threads",
        "threads",
        "C_Initialize in many threads at once",
        'An application calls C_Initialize "from one of its threads", and then all else: several at once are left '
        "open. Who comes after the first one gets CKR_CRYPTOKI_ALREADY_INITIALIZED.",
        f"PKCS #11 v2.20, 6.6 Application's view (v2.40: usage guide); {_LOCKING}, 5.1",
        "initialize-in-threads",
        initialize_in_threads,
    ),
    Line(
        "login-in-processes",
        "threads",
        "C_Login in many processes at once",
        "Each process is an application and logs in for itself.",
        "PKCS #11 v2.40 base, 5.6 (C_Login); usage guide, Applications and processes",
        "many-processes",
        login_in_processes,
    ),
    Line(
        "login-in-threads",
        "threads",
        "C_Login in many threads at once",
        "All sessions of an application share one login: who comes after the first gets CKR_USER_ALREADY_LOGGED_IN.",
        "PKCS #11 v2.40 base, 5.6 (C_Login); usage guide, Session events",
        "login-in-threads",
        login_in_threads,
    ),
    Line(
        "threads-with-locking",
        "threads",
        "CKF_OS_LOCKING_OK, and then threads",
        "The library must ensure proper behaviour with threads, or answer CKR_CANT_LOCK.",
        f"{_LOCKING}; {_THREADS}",
        "threads-with-locking",
        threads_with_locking,
    ),
    Line(
        "threads-without-locking",
        "threads",
        "C_Initialize with NULL, and then threads",
        "NULL says that there will be no threads: what happens with them is undefined.",
        f"{_LOCKING}; {_THREADS}",
        "threads-without-locking",
        threads_without_locking,
    ),
    Line(
        "shared-session",
        "threads",
        "two threads in one session",
        'Of threads that use one session at once: "Cryptoki does not define what happens"; an operation that is in the '
        "way is CKR_OPERATION_ACTIVE.",
        "PKCS #11 v2.40 usage guide, Capabilities of sessions; base, 5.1",
        "shared-session",
        shared_session,
        needs_key=True,
    ),
)
