"""C_GetInterface: what a v3.0 caller gets through the tap, from a module that has it and from one that lacks it."""

from __future__ import annotations

import json

import pytest

from lab.record.dtypes import ENDED
from lab.record.names import FUNCTIONS
from tests.native.conftest import Bench
from tests.native.recorded import Recorded, read_folder

CKR_OK, CKR_ARGUMENTS_BAD, CKR_BUFFER_TOO_SMALL = 0, 7, 0x150
FORK_SAFE = 1

ASK = """
def ask(name, version, flags=0, of=tap):
    found = ctypes.POINTER(Interface)()
    wanted = ctypes.byref(Version(*version)) if version else None
    ckr = of.loaded.C_GetInterface(name, wanted, ctypes.byref(found), ctypes.c_ulong(flags))
    return ckr, found.contents if ckr == 0 else None
direct = Module(os.environ['MODULE'])
"""


def only(bench: Bench) -> Recorded:
    (file,) = read_folder(bench.folder).values()
    return file


def test_all_92_functions_of_a_v3_list_give_one_row_each(bench3: Bench) -> None:
    said = bench3.python(
        ASK + "ckr, found = ask(None, (3, 0))\nassert ckr == 0 and found.flags == 1 and found.name == b'PKCS 11'\n"
        "import json\nskipped = ('C_GetFunctionList', 'C_GetInterface', 'C_GetInterfaceList')\n"
        "names = [name for name in FUNCTION_NUMBER if name not in skipped]\n"
        "print(json.dumps([[name, tap.call_once(name, found.list).ckr, fake.calls(name)] for name in names]))"
    )
    rows = only(bench3).rows
    names = [FUNCTIONS[number - 1] for number in rows["function"]]
    called = json.loads(said.stdout)
    assert names == ["C_GetInterface", *(name for name, _, _ in called)]
    assert len(names) == 90
    assert all((ckr, calls) == (CKR_OK, 1) for _, ckr, calls in called)
    assert set(rows["state"]) == {ENDED}
    assert rows["argument"][0] == FORK_SAFE


def test_a_v3_function_keeps_session_key_and_tag(bench3: Bench) -> None:
    bench3.python(
        ASK + "_, found = ask(None, (3, 0))\n"
        "length = ctypes.c_ulong(64)\n"
        "signed = ctypes.create_string_buffer(64)\n"
        "mechanism = (ctypes.c_ulong * 3)(ECDSA, 0, 0)\n"
        "assert tap.call('C_MessageSignInit', 5, mechanism, 9, of_list=found.list) == 0\n"
        "message = (5, None, 0, b'abc', 3, signed, ctypes.byref(length))\n"
        "assert tap.call('C_SignMessage', *message, of_list=found.list) == 0\n"
        "assert tap.call('C_LoginUser', 5, 1, b'pin', 3, b'name', 4, of_list=found.list) == 0\n"
    )
    recorded = only(bench3)
    (init,), (signed,), (login,) = (
        recorded.of(f"C_{name}") for name in ("MessageSignInit", "SignMessage", "LoginUser")
    )
    assert (init["session"], init["object"], init["argument"]) == (5, 9, 0x1041)
    assert signed["tag"] != 0
    assert (login["session"], login["argument"], login["tag"]) == (5, 1, 0)


@pytest.mark.parametrize(
    ("name", "version", "flags"),
    [
        ("None", "None", 0),
        ("b'PKCS 11'", "None", 0),
        ("b'PKCS 11'", "(2, 40)", 0),
        ("None", "(3, 0)", 0),
        ("None", "None", FORK_SAFE),
        ("None", "(2, 40)", FORK_SAFE),
        ("None", "(3, 9)", 0),
        ("b'Nobody'", "None", 0),
        ("b'Vendor Fake'", "None", 0),
    ],
)
def test_answers_names_versions_and_flags_are_the_modules(bench3: Bench, name: str, version: str, flags: int) -> None:
    bench3.python(
        ASK + f"tapped, direct = ask({name}, {version}, {flags}), ask({name}, {version}, {flags}, direct)\n"
        "assert tapped[0] == direct[0]\n"
        "if direct[1]:\n"
        "    ours, theirs = tapped[1], direct[1]\n"
        "    assert (ours.name, ours.flags) == (theirs.name, theirs.flags)\n"
        "    assert (ours.list == theirs.list) == (theirs.name == b'Vendor Fake')\n"
        "    if theirs.name == b'PKCS 11':\n"
        "        versions = [ctypes.cast(one.list, ctypes.POINTER(Version)).contents for one in (ours, theirs)]\n"
        "        assert len({(one.major, one.minor) for one in versions}) == 1\n"
    )
    (row,) = only(bench3).of("C_GetInterface")
    assert row["state"] == ENDED


def test_the_list_of_interfaces_holds_our_lists_and_the_vendors_own(bench3: Bench) -> None:
    bench3.python(
        ASK + "count, found = ctypes.c_ulong(8), (Interface * 8)()\n"
        "assert tap.loaded.C_GetInterfaceList(found, ctypes.byref(count)) == 0\n"
        "real = (Interface * 8)()\n"
        "assert direct.loaded.C_GetInterfaceList(real, ctypes.byref(count)) == 0\n"
        "assert count.value == 3\n"
        "assert [one.flags for one in found] == [one.flags for one in real]\n"
        "assert [a.list == b.list for a, b in zip(found, real)][:3] == [False, False, True]\n"
        "assert found[1].list == tap.list.value\n"
        "assert found[0].list == ask(None, (3, 0))[1].list\n"
    )


def test_a_forked_child_gets_the_same_v3_list_and_records_its_own_calls(bench3: Bench) -> None:
    bench3.python(
        ASK + "before = ask(None, (3, 0))[1].list\n"
        "if os.fork() == 0:\n"
        "    assert ask(None, (3, 0))[1].list == before\n"
        "    assert tap.call_once('C_SessionCancel', before).ckr == 0\n"
        "    os._exit(0)\n"
        "assert os.wait()[1] == 0"
    )
    assert sorted(len(file.rows) for file in read_folder(bench3.folder).values()) == [1, 2]


@pytest.mark.parametrize(
    ("name", "version", "flags", "ckr"),
    [
        ("None", "None", 0, CKR_OK),
        ("b'PKCS 11'", "None", 0, CKR_OK),
        ("b'PKCS 11'", "(2, 40)", 0, CKR_OK),
        ("None", "(3, 0)", 0, CKR_ARGUMENTS_BAD),
        ("b'Vendor Fake'", "None", 0, CKR_ARGUMENTS_BAD),
        ("None", "None", FORK_SAFE, CKR_ARGUMENTS_BAD),
    ],
)
def test_before_a_module_without_it_there_is_one_v2_interface_without_flags(
    bench: Bench, name: str, version: str, flags: int, ckr: int
) -> None:
    bench.python(
        ASK + f"ckr, found = ask({name}, {version}, {flags})\nassert ckr == {ckr}\n"
        "assert not found or (found.name, found.list, found.flags) == (b'PKCS 11', tap.list.value, 0)"
    )
    (row,) = only(bench).rows
    assert (row["ckr"], row["argument"]) == (ckr, 0)


def test_before_a_module_without_it_the_list_of_interfaces_has_one_and_keeps_to_its_room(bench: Bench) -> None:
    bench.python(
        "count, found = ctypes.c_ulong(0), (Interface * 1)()\n"
        "assert tap.loaded.C_GetInterfaceList(None, ctypes.byref(count)) == 0 and count.value == 1\n"
        "count.value = 0\n"
        f"assert tap.loaded.C_GetInterfaceList(found, ctypes.byref(count)) == {CKR_BUFFER_TOO_SMALL}\n"
        "assert tap.loaded.C_GetInterfaceList(found, ctypes.byref(count)) == 0\n"
        "assert found[0].list == tap.list.value\n"
        f"assert tap.loaded.C_GetInterfaceList(None, None) == {CKR_ARGUMENTS_BAD}\n"
    )
    assert len(only(bench).rows) == 4


def test_a_v3_function_of_a_module_that_lacks_it_is_not_supported(bench: Bench) -> None:
    said = bench.python("print(tap.loaded.C_SessionCancel(ctypes.c_ulong(1), ctypes.c_ulong(0)))")
    assert said.stdout.split() == [str(0x54)]
