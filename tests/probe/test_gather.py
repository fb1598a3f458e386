"""Events to what was seen: order, cut-off lines, and a module that writes where it should not."""

from __future__ import annotations

from lab.probe.seen import gather, say, seen_from


def test_a_call_that_did_not_return_stays_announced() -> None:
    seen = gather([say(begun=0, pid=7, who="child", call="C_Sign", facts={})])

    assert [(call.who, call.name, call.ckr) for call in seen.calls] == [("child", "C_Sign", None)]


def test_an_answer_belongs_to_its_process() -> None:
    begun = [say(begun=0, pid=pid, who=f"child {pid}", call="C_Sign", facts={}) for pid in (1, 2)]
    seen = gather([*begun, say(answered=0, pid=2, ckr=5, facts={"in": "C_SignInit"})])

    assert [(call.who, call.ckr) for call in seen.calls] == [("child 1", None), ("child 2", 5)]
    assert seen.calls[1].facts == {"in": "C_SignInit"}


def test_rubbish_and_a_cut_off_line_are_left_out() -> None:
    event = say(fact="forked", value=3)

    assert gather([b"\xff{rubbish\n", b"[1]\n", b"7\n", b'{"other":1}\n', event, event[:-1]]).facts == {"forked": 3}


def test_what_was_seen_comes_back_from_json_without_outputs() -> None:
    lines = [
        say(begun=0, pid=1, who="parent", call="C_Login", facts={}),
        say(answered=0, pid=1, ckr=0x100),
        say(end="child", pid=2, how="signal", status=11),
        say(output="aa", data="bb", who="parent"),
    ]
    seen = gather(lines)
    data = seen.to_json()

    assert data["calls"][0]["answer"] == "CKR_USER_ALREADY_LOGGED_IN"
    assert "aa" not in str(data)
    assert seen_from(data) == seen.without_outputs
