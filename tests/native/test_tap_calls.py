"""Each call through the tap gives one row, and the caller sees what it would have seen without the tap."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path

import pytest

from lab.record.dtypes import ENDED, LOCKING
from lab.record.names import FUNCTION_NUMBER, FUNCTIONS
from tests.native.build import compile_c
from tests.native.conftest import KEY, Bench
from tests.native.recorded import Recorded, read_folder

V2_FUNCTIONS = FUNCTIONS[:68]

MECHANISM = ("", "mechanism")
OBJECT_AND_ARGUMENT = {
    # what a row's object and argument are: a parameter, or *parameter for what was returned through it
    "C_GetSlotList": ("", "*count"),
    "C_GetSlotInfo": ("", "slot_id"),
    "C_GetTokenInfo": ("", "slot_id"),
    "C_GetMechanismList": ("", "slot_id"),
    "C_GetMechanismInfo": ("", "type"),
    "C_InitToken": ("", "slot_id"),
    "C_OpenSession": ("", "slot_id"),
    "C_CloseAllSessions": ("", "slot_id"),
    "C_GetSessionInfo": ("", "state"),
    "C_SetOperationState": ("encryption_key", "authentiation_key"),
    "C_Login": ("", "user_type"),
    "C_CreateObject": ("*object", "count"),
    "C_CopyObject": ("*new_object", "object"),
    "C_DestroyObject": ("object", ""),
    "C_GetObjectSize": ("object", "*size"),
    "C_GetAttributeValue": ("object", "count"),
    "C_SetAttributeValue": ("object", "count"),
    "C_FindObjectsInit": ("", "count"),
    "C_FindObjects": ("*object", "*object_count"),
    "C_DigestInit": MECHANISM,
    "C_DigestKey": ("key", ""),
    "C_GenerateKey": ("*key", "mechanism"),
    "C_GenerateKeyPair": ("*private_key", "*public_key"),
    "C_WrapKey": ("key", "wrapping_key"),
    "C_UnwrapKey": ("*key", "unwrapping_key"),
    "C_DeriveKey": ("*key", "base_key"),
    "C_SeedRandom": ("", "seed_len"),
    "C_GenerateRandom": ("", "random_len"),
    "C_WaitForSlotEvent": ("", "*slot"),
    "C_Sign": ("", "tag of data"),
}
for verb in ("Encrypt", "Decrypt", "Sign", "SignRecover", "Verify", "VerifyRecover"):
    OBJECT_AND_ARGUMENT[f"C_{verb}Init"] = ("key", "mechanism")
for name, length in {
    "C_Encrypt": "data_len",
    "C_EncryptUpdate": "part_len",
    "C_Decrypt": "encrypted_data_len",
    "C_DecryptUpdate": "encrypted_part_len",
    "C_Digest": "data_len",
    "C_DigestUpdate": "part_len",
    "C_SignUpdate": "part_len",
    "C_SignRecover": "data_len",
    "C_Verify": "data_len",
    "C_VerifyUpdate": "part_len",
    "C_VerifyRecover": "signature_len",
    "C_DigestEncryptUpdate": "part_len",
    "C_DecryptDigestUpdate": "encrypted_part_len",
    "C_SignEncryptUpdate": "part_len",
    "C_DecryptVerifyUpdate": "encrypted_part_len",
}.items():
    OBJECT_AND_ARGUMENT[name] = ("", length)

CALL_ALL = """
import json
fake.answer(int(os.environ.get("ANSWER", "0")))
called = {}
for name in FUNCTION_NUMBER:
    if FUNCTION_NUMBER[name] > 68:
        continue
    one = tap.call_once(name)
    buffers = {key: value[:256].hex() for key, value in one.buffers.items()}
    called[name] = {"ckr": one.ckr, "numbers": one.numbers, "buffers": buffers, "fake": fake.calls(name)}
print(json.dumps({"pid": os.getpid(), "called": called}))
"""


@pytest.fixture(scope="session")
def siphash(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("siphash")
    (folder / "tag.c").write_text(
        '#include "siphash.h"\n'
        '__attribute__((visibility("default"))) uint64_t tag(const void *key, const void *data, size_t length)\n'
        "{\n    struct siphash_key k;\n    memcpy(&k, key, sizeof k);\n    return siphash(&k, data, length);\n}\n"
    )
    library = ctypes.CDLL(str(compile_c(folder / "tag.so", folder / "tag.c")))
    library.tag.restype = ctypes.c_uint64
    return library


def tag(siphash: ctypes.CDLL, data: bytes) -> int:
    return int(siphash.tag(bytes.fromhex(KEY), data, ctypes.c_size_t(len(data))))


def only(folder: Path) -> Recorded:
    (recorded,) = read_folder(folder).values()
    return recorded


def test_the_tags_are_siphash_2_4_of_its_paper(siphash: ctypes.CDLL) -> None:
    assert tag(siphash, bytes(range(15))) == 0xA129CA6149BE45E5  # appendix A
    assert tag(siphash, b"") == 0x726FDB47DD0E0E31  # first and second of the reference's vectors
    assert tag(siphash, b"\0") == 0x74F839C593DC67FD


def test_each_of_the_68_functions_gives_exactly_one_row_with_what_it_was_called_with(
    bench: Bench, siphash: ctypes.CDLL
) -> None:
    said = json.loads(bench.python(CALL_ALL).stdout)
    recorded = only(bench.folder)
    assert recorded.pid == said["pid"]
    assert [FUNCTIONS[number - 1] for number in recorded.rows["function"]] == list(V2_FUNCTIONS)
    assert set(recorded.rows["state"]) == {ENDED}
    assert set(recorded.rows["pid"]) == {said["pid"]}
    assert set(recorded.rows["tid"]) == {said["pid"]}  # the main thread
    assert (recorded.rows["started_ns"] <= recorded.rows["ended_ns"]).all()
    assert (recorded.rows["started_ns"][1:] >= recorded.rows["ended_ns"][:-1]).all()

    for row in recorded.rows:
        name = FUNCTIONS[row["function"] - 1]
        called = said["called"][name]
        buffers = {key: bytes.fromhex(value) for key, value in called["buffers"].items()}

        def value(what: str, called: dict[str, dict[str, int]] = called, buffers: dict[str, bytes] = buffers) -> int:
            special = {"": 0, "state": 3, "mechanism": 0x1041}
            if what in special:
                return special[what]
            if what == "tag of data":
                return tag(siphash, bytes(called["numbers"]["data_len"]))
            return int.from_bytes(buffers[what[1:]][:8], "little") if what[0] == "*" else called["numbers"][what]

        wanted_object, wanted_argument = OBJECT_AND_ARGUMENT.get(name, ("", ""))
        assert row["ckr"] == called["ckr"] == 0, name
        assert row["object"] == value(wanted_object), name
        assert row["argument"] == value(wanted_argument), name
        session = value("*session") if name == "C_OpenSession" else called["numbers"].get("session", 0)
        assert row["session"] == session, name
        assert called["fake"] == (0 if name == "C_GetFunctionList" else 1), name


def test_outputs_and_codes_are_those_of_the_module_without_the_tap(bench: Bench, tmp_path: Path) -> None:
    tapped = json.loads(bench.python(CALL_ALL).stdout)["called"]
    direct = json.loads(bench.python("tap = Module(os.environ['MODULE'])\n" + CALL_ALL).stdout)["called"]
    for function in set(V2_FUNCTIONS) - {"C_GetFunctionList"}:
        assert tapped[function]["buffers"] == direct[function]["buffers"], function


def test_a_call_that_fails_keeps_its_code_and_nothing_that_was_not_returned(bench: Bench) -> None:
    said = json.loads(bench.python(CALL_ALL, ANSWER=str(0x30)).stdout)
    recorded = only(bench.folder)
    others = recorded.rows[recorded.rows["function"] != FUNCTION_NUMBER["C_GetFunctionList"]]
    assert set(others["ckr"]) == {0x30}
    assert {one["ckr"] for name, one in said["called"].items() if name != "C_GetFunctionList"} == {0x30}
    assert set(others["tag"]) == {0}
    for function in ("C_OpenSession", "C_FindObjects", "C_GenerateKeyPair", "C_Sign"):
        (row,) = recorded.of(function)
        assert row["object"] == 0
    assert recorded.of("C_OpenSession")["session"][0] == 0
    assert recorded.of("C_Sign")["argument"][0] == 0


def test_23_calls_give_23_rows(bench: Bench) -> None:
    bench.python("for _ in range(23): tap.call_once('C_GetSessionInfo')")
    assert len(only(bench.folder).rows) == 23


def test_signatures_and_random_outputs_are_tagged_with_the_given_key(bench: Bench, siphash: ctypes.CDLL) -> None:
    bench.python(
        "signature, length = ctypes.create_string_buffer(64), ctypes.c_ulong(64)\n"
        "assert tap.call('C_Sign', 5, b'message', 7, signature, ctypes.byref(length)) == 0\n"
        "assert tap.call('C_Sign', 5, b'message', 7, None, ctypes.byref(length)) == 0\n"
        "random = ctypes.create_string_buffer(20)\n"
        "assert tap.call('C_GenerateRandom', 5, random, 20) == 0\n"
    )
    recorded = only(bench.folder)
    filled = bytes((i * 7 + 1) % 256 for i in range(64))
    signed, asked_length = recorded.of("C_Sign")
    assert signed["tag"] == tag(siphash, filled[:32])
    assert signed["argument"] == tag(siphash, b"message")
    assert asked_length["tag"] == asked_length["argument"] == 0
    (random,) = recorded.of("C_GenerateRandom")
    assert random["tag"] == tag(siphash, filled[:20])
    assert random["argument"] == 20


def test_a_signature_in_parts_is_tagged_where_it_comes_out_and_so_is_each_part(
    bench: Bench, siphash: ctypes.CDLL
) -> None:
    bench.python(
        "signature, length = ctypes.create_string_buffer(64), ctypes.c_ulong(64)\n"
        "assert tap.call('C_SignUpdate', 5, b'mess', 4) == 0\n"
        "assert tap.call('C_SignUpdate', 5, b'age', 3) == 0\n"
        "assert tap.call('C_SignFinal', 5, None, ctypes.byref(length)) == 0\n"
        "assert tap.call('C_SignFinal', 5, signature, ctypes.byref(length)) == 0\n"
    )
    recorded = only(bench.folder)
    assert recorded.of("C_SignUpdate")["tag"].tolist() == [tag(siphash, b"mess"), tag(siphash, b"age")]
    assert recorded.of("C_SignUpdate")["argument"].tolist() == [4, 3]
    filled = bytes((i * 7 + 1) % 256 for i in range(64))
    assert recorded.of("C_SignFinal")["tag"].tolist() == [0, tag(siphash, filled[:32])]


def test_a_module_that_says_too_little_room_gives_no_tag(bench: Bench) -> None:
    bench.python(
        "fake.answer(0x150)\n"
        "signature, length = ctypes.create_string_buffer(64), ctypes.c_ulong(3)\n"
        "for function, data in (('C_Sign', (b'message', 7)), ('C_SignFinal', ())):\n"
        "    assert tap.call(function, 5, *data, signature, ctypes.byref(length)) == 0x150\n"
    )
    assert only(bench.folder).rows["tag"].tolist() == [0, 0]


def test_without_a_key_two_runs_tag_the_same_output_differently(bench: Bench) -> None:
    for _ in range(2):
        bench.python("tap.call_once('C_GenerateRandom')", LAB_TAP_KEY="0" * 32)
    for _ in range(2):
        bench.python("tap.call_once('C_GenerateRandom')", LAB_TAP_KEY=None)
    tags = [int(one.rows["tag"][0]) for one in read_folder(bench.folder).values()]
    assert len(tags) == 4
    assert len(set(tags)) == 3


def test_a_login_leaves_nothing_of_the_pin(bench: Bench) -> None:
    pin = "4711-secret-pin"
    bench.python(f"tap.call('C_Login', 5, 1, {pin.encode()!r}, {len(pin)})")
    (path,) = bench.folder.glob("calls-*.rows")
    (row,) = only(bench.folder).rows
    assert pin.encode() not in path.read_bytes()
    assert (row["session"], row["object"], row["argument"], row["tag"]) == (5, 0, 1, 0)


def test_symbols_work_without_asking_for_a_list(bench: Bench) -> None:
    bench.python(
        "import ctypes, os\n"
        "library = ctypes.CDLL(os.environ['TAP'])\n"
        "assert library.C_Initialize(None) == 0\n"
        "assert library.C_Finalize(None) == 0\n",
        "",
    )
    assert [FUNCTIONS[number - 1] for number in only(bench.folder).rows["function"]] == ["C_Initialize", "C_Finalize"]


OS_FLAG = 2
ALL_ONES = 2**64 - 1
ASKED = {
    "null_argument": "None",
    "no_flags": "(ctypes.c_ulong * 6)(0, 0, 0, 0, 0, 77)",
    "os": "(ctypes.c_ulong * 6)(0, 0, 0, 0, 2, 77)",
    "callbacks": "(ctypes.c_ulong * 6)(1, 1, 1, 1, 0, 77)",
    "os_and_callbacks": "(ctypes.c_ulong * 6)(1, 1, 1, 1, 2, 77)",
}


@pytest.mark.parametrize(
    ("override", "asked", "told", "changed"),
    [
        (None, "null_argument", (0, ALL_ONES, 0), False),
        (None, "no_flags", (0, 0, 77), False),
        (None, "os", (0, OS_FLAG, 77), False),
        (None, "callbacks", (1, 0, 77), False),
        (None, "os_and_callbacks", (1, OS_FLAG, 77), False),
        ("os", "null_argument", (0, OS_FLAG, 0), True),
        ("os", "no_flags", (0, OS_FLAG, 77), True),
        ("os", "os", (0, OS_FLAG, 77), False),
        ("os", "callbacks", (0, OS_FLAG, 77), True),
        ("os", "os_and_callbacks", (0, OS_FLAG, 77), True),
        ("none", "null_argument", (0, ALL_ONES, 0), False),
        ("none", "no_flags", (0, 0, 77), False),
        ("none", "os", (0, 0, 77), True),
        ("none", "callbacks", (0, 0, 77), True),
    ],
)
def test_locking_is_recorded_as_asked_and_overridden_as_told(
    bench: Bench, override: str | None, asked: str, told: tuple[int, int, int], changed: bool
) -> None:
    script = f"assert tap.call('C_Initialize', {ASKED[asked]}) == 0\nprint(*fake.initialize_args())"
    said = bench.python(script, **({"LAB_TAP_LOCKING": override} if override else {})).stdout
    (row,) = only(bench.folder).rows
    assert tuple(map(int, said.split())) == told
    assert row["locking"] == LOCKING[asked] + (128 if changed else 0)


NO_STRING = {name: said.replace("77)", "0)") for name, said in ASKED.items()}


@pytest.mark.parametrize(
    ("override", "asked", "told", "changed"),
    [
        (None, "null_argument", (0, 0), False),  # the structure without flags says what NULL says
        (None, "no_flags", (0, 0), False),
        (None, "os", (0, OS_FLAG), False),
        (None, "callbacks", (1, 0), False),
        (None, "os_and_callbacks", (1, OS_FLAG), False),
        ("os", "null_argument", (0, OS_FLAG), True),
        ("os", "os", (0, OS_FLAG), False),
        ("os", "callbacks", (0, OS_FLAG), True),
        ("none", "null_argument", (0, 0), False),
        ("none", "os", (0, 0), True),
        ("none", "callbacks", (0, 0), True),
    ],
)
def test_an_init_string_is_given_where_the_caller_has_none_and_locking_stays_as_declared(
    bench: Bench, override: str | None, asked: str, told: tuple[int, int], changed: bool
) -> None:
    script = (
        f"assert tap.call('C_Initialize', {NO_STRING[asked]}) == 0\n"
        "callbacks, flags, reserved = fake.initialize_args()\n"
        "print(callbacks, flags, ctypes.string_at(reserved).decode())"
    )
    environment = {"LAB_TAP_INIT": "configdir='sql:/a b'", **({"LAB_TAP_LOCKING": override} if override else {})}
    said = bench.python(script, **environment).stdout
    (row,) = only(bench.folder).rows
    assert said.strip() == f"{told[0]} {told[1]} configdir='sql:/a b'"
    assert row["locking"] == LOCKING[asked] + (128 if changed else 0)


@pytest.mark.parametrize("init", ["configdir='sql:/a'", ""])
@pytest.mark.parametrize("override", [None, "os", "none"])
def test_a_caller_with_an_init_string_of_its_own_keeps_it(bench: Bench, override: str | None, init: str) -> None:
    script = f"assert tap.call('C_Initialize', {ASKED['os']}) == 0\nprint(*fake.initialize_args())"
    environment = {"LAB_TAP_INIT": init, **({"LAB_TAP_LOCKING": override} if override else {})}
    said = bench.python(script, **environment).stdout
    assert said.split() == ["0", "0" if override == "none" else str(OS_FLAG), "77"]


def test_an_empty_init_string_is_none(bench: Bench) -> None:
    script = f"assert tap.call('C_Initialize', {NO_STRING['os']}) == 0\nprint(*fake.initialize_args())"
    assert bench.python(script, LAB_TAP_INIT="").stdout.split() == ["0", str(OS_FLAG), "0"]


def test_the_init_string_stays_when_a_program_writes_over_its_environment(bench: Bench) -> None:
    script = (
        "tap.call('C_GetInfo', None)\n"  # loads the real module
        "libc = ctypes.CDLL(None)\n"
        "libc.getenv.restype = ctypes.c_void_p\n"
        "ctypes.memset(libc.getenv(b'LAB_TAP_INIT'), ord('x'), 3)\n"
        "assert tap.call('C_Initialize', None) == 0\n"
        "print(ctypes.string_at(fake.initialize_args()[2]).decode())"
    )
    assert bench.python(script, LAB_TAP_INIT="configdir='sql:/a'").stdout.strip() == "configdir='sql:/a'"
