"""stunnel's log: lines of stunnel 5.68, each kind of end, and logs that were cut off."""

from __future__ import annotations

from lab.servers.stunnel_log import read

NS = 1_000_000_000
AT_S = 1_795_541_614  # 2026-11-24 17:33:34 UTC

STARTED = """\
2026.11.24 17:33:34 LOG3[ui]: ENGINE_ctrl_cmd: eng_back.c:421: error:40000064:pkcs11 engine::invalid id
2026.11.24 17:33:34 LOG3[ui]: No trusted certificates found
2026.11.24 17:33:34 LOG5[ui]: Configuration successful
2026.11.24 17:33:34 LOG6[ui]: Service [lab] (FD=8) bound to 127.0.0.1:39841
2026.11.24 17:33:34 LOG6[ui]: Accepting new connections
2026.11.24 17:33:34 LOG6[cron]: Executing cron jobs
"""
WELL = """\
2026.11.24 17:33:34 LOG5[2908]: Service [lab] accepted connection from 127.0.0.1:60344
2026.11.24 17:33:34 LOG6[2908]: Peer certificate not required
2026.11.24 17:33:34 LOG6[2908]: TLS accepted: new session negotiated
2026.11.24 17:33:34 LOG6[2908]: TLSv1.3 ciphersuite: TLS_AES_256_GCM_SHA384 (256-bit encryption)
2026.11.24 17:33:34 LOG6[2908]: s_connect: connecting localhost:/tmp/backend.sock
2026.11.24 17:33:34 LOG5[2908]: Service [lab] connected remote server from unnamed socket
2026.11.24 17:33:35 LOG6[2908]: TLS socket closed (SSL_read)
2026.11.24 17:33:35 LOG5[2908]: Connection closed: 0 byte(s) sent to TLS, 0 byte(s) sent to socket
"""
ACCEPTED = """\
2026.11.24 17:33:34 LOG5[2909]: Service [lab] accepted connection from 127.0.0.1:60354
2026.11.24 17:33:34 LOG6[2909]: Peer certificate not required
"""


def failing(*errors: str, end: str = "reset/closed") -> str:
    said = "".join(f"2026.11.24 17:33:34 {error}\n" for error in errors)
    closed = f"2026.11.24 17:33:35 LOG5[2909]: Connection {end}: 0 byte(s) sent to TLS, 0 byte(s) sent to socket\n"
    return ACCEPTED + said + closed


def test_a_completed_handshake_has_thread_and_port_and_leaves_the_process_open() -> None:
    (entry,) = read(STARTED + WELL).entries

    assert (entry.pid, entry.tid, entry.port, entry.well) == (0, 2908, 60344, True)
    assert (entry.opened_ns, entry.ended_ns, entry.exact) == (AT_S * NS, AT_S * NS, False)
    assert (entry.code, entry.text, entry.ckr) == (0, "", None)


def test_a_failing_token_is_told_with_its_ckr() -> None:
    (entry,) = read(
        failing(
            "LOG3[2909]: error queue: ../ssl/statem/statem_lib.c:361: error:0A080006:SSL routines::EVP lib",
            "LOG3[2909]: SSL_accept: p11_ec.c:419: error:42000082:PKCS#11 module::Object handle invalid",
        )
    ).entries

    assert (entry.well, entry.code, entry.ckr) == (False, 0x42000082, 0x82)
    assert entry.text == "Object handle invalid"
    assert entry.ended_ns == (AT_S + 1) * NS


def test_of_a_token_s_errors_the_one_counts_that_came_last_and_is_printed_first() -> None:
    (entry,) = read(
        failing(
            "LOG3[2909]: error queue: ../ssl/statem/statem_lib.c:361: error:0A080006:SSL routines::EVP lib",
            "LOG3[2909]: error queue: p11_ec.c:419: error:42000190:PKCS#11 module::Cryptoki not initialized",
            "LOG3[2909]: SSL_accept: p11_front.c:1: error:42000005:PKCS#11 module::General Error",
        )
    ).entries

    assert entry.ckr == 0x190


def test_an_alert_of_the_client_is_told_by_its_number() -> None:
    alert = (
        "LOG3[2909]: SSL_accept: ../ssl/record/rec_layer_s3.c:1602: error:0A000418:SSL routines::tlsv1 alert unknown ca"
    )
    (entry,) = read(failing(alert)).entries

    assert (entry.well, entry.alert, entry.alert_sent, entry.ckr) == (False, 48, False, None)
    assert entry.text == "tlsv1 alert unknown ca"


def test_what_openssl_refuses_is_told_by_its_code() -> None:
    cipher = "LOG3[2909]: SSL_accept: ../ssl/statem/statem_srvr.c:2226: error:0A0000C1:SSL routines::no shared cipher"
    where = "../ssl/record/rec_layer_s3.c:318"
    left = f"LOG3[2909]: SSL_accept: {where}: error:0A000126:SSL routines::unexpected eof while reading"

    assert [read(failing(error)).entries[0].code for error in (cipher, left)] == [0x0A0000C1, 0x0A000126]


def test_a_reset_and_a_timeout_have_no_code_but_a_text() -> None:
    reset = "SSL_accept: Connection reset by peer (104)"
    late = "ssl_start: s_poll_wait: TIMEOUTbusy exceeded: sending reset"
    for level, said in ((3, reset), (6, late)):
        (entry,) = read(failing(f"LOG{level}[2909]: {said}", end="reset")).entries
        assert (entry.well, entry.code, entry.text) == (False, 0, said)


def test_what_fails_after_the_handshake_does_not_count() -> None:
    at = WELL.index("2026.11.24 17:33:34 LOG5[2908]: Service [lab] connected")
    refused = "2026.11.24 17:33:34 LOG3[2908]: s_connect: connect /tmp/backend.sock: Connection refused (111)\n"
    (entry,) = read(WELL[:at] + refused + WELL[at:]).entries

    assert (entry.well, entry.text) == (True, "")


def test_a_thread_s_number_may_come_up_again() -> None:
    again = WELL.replace("60344", "60345")

    assert [entry.port for entry in read(WELL + again).entries] == [60344, 60345]


def test_threads_that_write_at_the_same_time_are_kept_apart() -> None:
    alert = (
        "LOG3[2909]: SSL_accept: ../ssl/record/rec_layer_s3.c:1602: error:0A000418:SSL routines::tlsv1 alert unknown ca"
    )
    pairs = zip(WELL.splitlines(), failing(alert).splitlines(), strict=False)
    mixed = "".join(f"{one}\n{other}\n" for one, other in pairs)

    assert [(entry.port, entry.well) for entry in read(mixed).entries] == [(60344, True), (60354, False)]


def test_a_connection_in_the_middle_has_no_end() -> None:
    (entry,) = read(ACCEPTED).entries

    assert (entry.port, entry.well, entry.ended_ns) == (60354, False, None)


def test_a_cut_off_last_line_counts_for_nothing() -> None:
    whole = STARTED + WELL + ACCEPTED
    counts = [len(read(whole[:length]).entries) for length in range(len(whole) + 1)]

    assert sorted(set(counts)) == [0, 1, 2]
    assert counts == sorted(counts)
    assert {entry.port for length in range(len(whole)) for entry in read(whole[:length]).entries} == {60344, 60354}
