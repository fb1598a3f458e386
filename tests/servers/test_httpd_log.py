"""httpd's ErrorLog at ssl:debug: lines of httpd 2.4.71, each kind of end, and logs that were cut off."""

from __future__ import annotations

import pytest

from lab.servers.httpd_log import read
from lab.servers.model import Entry

US = 1_000
SECOND = 1_795_544_050_000_000_000  # 2026-11-24 18:14:10 UTC
WHO = "15948 15949 127.0.0.1:46864 OvtNrakdAKU"

STARTED = """\
2026-11-24 18:14:10.340340 15947 15947 - - info AH01887: Init: Initializing (virtual) servers for SSL
Found 2 private keys:
   1 P  id=f987899f4b297a32 label=ec-p256-1
2026-11-24 18:14:10.368427 15947 15947 - - notice AH00163: Apache/2.4.71 configured -- resuming normal operations
"""
CONNECTED = f"""\
2026-11-24 18:14:10.432838 {WHO} info AH01964: Connection to child 0 established (server host-0.lab.test:443)
2026-11-24 18:14:10.433107 {WHO} debug AH02043: SSL virtual host for servername host-0.lab.test found
"""
DONE = f"""\
2026-11-24 18:14:10.438794 {WHO} debug AH02041: Protocol: TLSv1.3, Cipher: TLS_AES_256_GCM_SHA384 (256/256 bits)
"""
LEFT = f"2026-11-24 18:14:10.438794 {WHO} info AH02006: SSL handshake stopped: connection was closed\n"
FAILED = f"""\
2026-11-24 18:14:10.438794 {WHO} info AH02008: SSL library error 1 in handshake (server host-0.lab.test:443)
"""
NO_TLS = f"2026-11-24 18:14:10.438794 {WHO} info AH01996: SSL handshake failed: HTTP spoken on HTTPS port\n"
CLOSED = f"""\
2026-11-24 18:14:10.826764 {WHO} info AH01998: Connection closed to child 0 with abortive shutdown (server a:443)
"""


def error(said: str, thread: int = 15949) -> str:
    return f"2026-11-24 18:14:10.438800 15948 {thread} - - info SSL Library Error: error:{said}\n"


UNKNOWN_CA = error("0A000418:SSL routines::tlsv1 alert unknown ca (SSL alert number 48)")
BAD_OBJECT = error("41800082:PKCS#11 module::Object handle invalid") + error("0A080006:SSL routines::EVP lib")


def only(text: str) -> Entry:
    (entry,) = read(STARTED + CONNECTED + text).entries
    return entry


def test_a_completed_handshake_has_process_thread_port_and_microseconds() -> None:
    entry = only(DONE + CLOSED)
    assert (entry.pid, entry.tid, entry.port, entry.well, entry.exact) == (15948, 15949, 46864, True, True)
    assert (entry.opened_ns, entry.ended_ns) == (SECOND + 432_838 * US, SECOND + 438_794 * US)
    assert (entry.code, entry.ckr, entry.text, entry.alert) == (0, None, "", None)


@pytest.mark.parametrize(
    ("end", "code", "ckr", "alert", "text"),
    [
        (FAILED + BAD_OBJECT, 0x41800082, 0x82, None, "Object handle invalid"),
        (FAILED + UNKNOWN_CA, 0x0A000418, None, 48, "tlsv1 alert unknown ca"),
        (
            FAILED + error("0A000102:SSL routines::unsupported protocol"),
            *(0x0A000102, None, None, "unsupported protocol"),
        ),
        (NO_TLS + error("0A00009C:SSL routines::http request"), 0x0A00009C, None, None, "http request"),
        (FAILED, 0, None, None, ""),
        (LEFT, 0, None, None, ""),
    ],
    ids=["the token", "an alert", "OpenSSL", "no TLS", "without a word", "left"],
)
def test_a_failed_handshake_ends_then_and_has_the_errors_that_follow(
    end: str, code: int, ckr: int | None, alert: int | None, text: str
) -> None:
    entry = only(end + CLOSED)
    assert (entry.well, entry.ended_ns) == (False, SECOND + 438_794 * US)
    assert (entry.code, entry.ckr, entry.alert, entry.text) == (code, ckr, alert, text)


def test_errors_of_another_thread_or_of_nobody_s_failure_are_not_this_one_s() -> None:
    other = error("41800082:PKCS#11 module::Object handle invalid", thread=15950)
    assert only(FAILED + other + UNKNOWN_CA).alert == 48
    assert only(DONE + UNKNOWN_CA).code == 0
    assert only(FAILED + CLOSED + UNKNOWN_CA).code == 0


def test_what_goes_wrong_after_a_handshake_does_not_unmake_it() -> None:
    assert only(DONE + FAILED + UNKNOWN_CA).well is True


def test_a_handshake_in_the_middle_has_no_end() -> None:
    entry = only("")
    assert (entry.port, entry.well, entry.ended_ns) == (46864, False, None)


def test_connections_of_two_threads_are_kept_apart() -> None:
    other = (CONNECTED + DONE).replace("OvtNrakdAKU", "aF9UrakdAKU").replace("15949", "15950").replace("46864", "46892")
    mixed = [line for pair in zip((CONNECTED + LEFT).splitlines(), other.splitlines(), strict=True) for line in pair]
    found = {entry.port: (entry.tid, entry.well) for entry in read("\n".join(mixed)).entries}
    assert found == {46864: (15949, False), 46892: (15950, True)}


def test_a_thread_that_is_not_told_is_the_process() -> None:
    (entry,) = read((CONNECTED + DONE).replace(" 15949 ", " - ")).entries
    assert (entry.pid, entry.tid) == (15948, 15948)


def test_an_ipv6_client_has_its_port() -> None:
    (entry,) = read((CONNECTED + DONE).replace("127.0.0.1", "[::1]")).entries
    assert entry.port == 46864


def test_children_that_a_signal_ended_are_told() -> None:
    log = read(
        "2026-11-24 18:14:11.369560 15947 15947 - - notice AH00052: child pid 15948 exit signal Segmentation fault (11)\n"  # noqa: E501
        "2026-11-24 18:14:11.369561 15947 15947 - - error AH00052: child pid 15951 exit signal Aborted (6)\n"
    )
    assert dict(log.crashes) == {15948: 11, 15951: 6}
    assert log.entries == ()


def test_a_log_that_was_cut_off_anywhere_has_what_was_whole() -> None:
    whole = STARTED + CONNECTED + DONE
    counts = [len(read(whole[:length]).entries) for length in range(len(whole) + 1)]
    assert sorted(set(counts)) == [0, 1]
    assert counts == sorted(counts)
    assert {entry.port for length in range(len(whole)) for entry in read(whole[:length]).entries} == {46864}


def test_an_empty_log_tells_nothing() -> None:
    assert read("").entries == ()
