"""nginx's error_log at debug_event: lines of nginx 1.22.1, each kind of end, and logs that were cut off."""

from __future__ import annotations

from lab.servers.nginx_log import read

NS = 1_000_000_000
AT_S = 1_795_541_612  # 2026-11-24 17:33:32 UTC

STARTED = """\
2026/11/24 17:33:32 [debug] 2893#2893: counter: 00007FBFA9495080, 1
2026/11/24 17:33:32 [notice] 2893#2893: nginx/1.22.1
2026/11/24 17:33:32 [notice] 2893#2893: start worker processes
2026/11/24 17:33:32 [notice] 2893#2893: start worker process 2894
2026/11/24 17:33:32 [debug] 2893#2893: sigsuspend
2026/11/24 17:33:32 [debug] 2894#2894: accept on 127.0.0.1:44991, ready: 0
"""
WELL = """\
2026/11/24 17:33:32 [debug] 2894#2894: *1 accept: 127.0.0.1:40008 fd:3
2026/11/24 17:33:32 [debug] 2894#2894: *1 event timer add: 3: 500:16119414
2026/11/24 17:33:32 [debug] 2894#2894: *1 epoll add event: fd:3 op:1 ev:80002001
2026/11/24 17:33:32 [debug] 2894#2894: worker cycle
2026/11/24 17:33:32 [debug] 2894#2894: *1 SSL_do_handshake: -1
2026/11/24 17:33:32 [debug] 2894#2894: *1 SSL_get_error: 2
2026/11/24 17:33:32 [debug] 2894#2894: *1 SSL handshake handler: 0
2026/11/24 17:33:32 [debug] 2894#2894: *1 SSL_do_handshake: 1
2026/11/24 17:33:32 [debug] 2894#2894: *1 SSL: TLSv1.3, cipher: "TLS_AES_256_GCM_SHA384 TLSv1.3 Kx=any"
2026/11/24 17:33:32 [debug] 2894#2894: *1 SSL_read: 0
2026/11/24 17:33:33 [info] 2894#2894: *1 client closed connection while waiting for request, client: 127.0.0.1, server: 127.0.0.1:44991
"""  # noqa: E501
ACCEPTED = "2026/11/24 17:33:32 [debug] 2894#2894: *2 accept: 127.0.0.1:40024 fd:3\n"
PENDING = "2026/11/24 17:33:32 [debug] 2894#2894: *2 SSL_do_handshake: -1\n"
WHERE = " while SSL handshaking, client: 127.0.0.1, server: 127.0.0.1:44991\n"


def failing(level: str, said: str, where: str = WHERE) -> str:
    return f"{ACCEPTED}{PENDING}2026/11/24 17:33:33 [{level}] 2894#2894: *2 {said}{where}"


def test_a_completed_handshake_has_process_port_and_whole_seconds() -> None:
    (entry,) = read(STARTED + WELL).entries

    assert (entry.pid, entry.tid, entry.port, entry.well) == (2894, 2894, 40008, True)
    assert (entry.opened_ns, entry.ended_ns, entry.exact) == (AT_S * NS, AT_S * NS, False)
    assert (entry.code, entry.text, entry.ckr, entry.alert) == (0, "", None, None)


def test_a_failing_token_is_told_with_its_ckr_and_not_with_what_it_led_to() -> None:
    said = (
        "SSL_do_handshake() failed (SSL: error:41800005:PKCS#11 module::General Error "
        "error:41800005:PKCS#11 module::General Error error:41800190:PKCS#11 module::Cryptoki not initialized "
        "error:0A080006:SSL routines::EVP lib)"
    )
    (entry,) = read(failing("crit", said)).entries

    assert (entry.well, entry.code, entry.ckr) == (False, 0x41800190, 0x190)
    assert entry.text == "Cryptoki not initialized"
    assert entry.ended_ns == (AT_S + 1) * NS


def test_of_two_errors_the_second_is_seen_too() -> None:
    said = (
        "SSL_do_handshake() failed (SSL: error:0A080006:SSL routines::EVP lib "
        "error:41800082:PKCS#11 module::Object handle invalid)"
    )
    (entry,) = read(failing("crit", said)).entries

    assert (entry.ckr, entry.text) == (0x82, "Object handle invalid")


def test_an_alert_of_the_client_is_told_by_its_number() -> None:
    said = "SSL_do_handshake() failed (SSL: error:0A000418:SSL routines::tlsv1 alert unknown ca:SSL alert number 48)"
    (entry,) = read(failing("info", said)).entries

    assert (entry.well, entry.alert, entry.alert_sent, entry.ckr) == (False, 48, False, None)
    assert entry.text == "tlsv1 alert unknown ca"


def test_what_openssl_refuses_is_told_by_its_code() -> None:
    said = "SSL_do_handshake() failed (SSL: error:0A0000C1:SSL routines::no shared cipher)"
    (entry,) = read(failing("info", said)).entries

    assert (entry.code, entry.text, entry.alert) == (0x0A0000C1, "no shared cipher", None)


def test_a_client_that_left_or_was_too_slow_has_no_code_but_a_text() -> None:
    for said in (
        "client closed connection",
        "peer closed connection in SSL handshake",
        "peer closed connection in SSL handshake (104: Connection reset by peer)",
        "client timed out (110: Connection timed out)",
    ):
        (entry,) = read(failing("info", said)).entries
        assert (entry.well, entry.code, entry.text, entry.ended_ns) == (False, 0, said, (AT_S + 1) * NS)


def test_a_client_that_speaks_no_tls_failed() -> None:
    where = ' while reading client request line, client: 127.0.0.1, server: host-0.lab.test, request: "hello"\n'
    (entry,) = read(failing("info", "client sent invalid method", where)).entries

    assert (entry.well, entry.text) == (False, "client sent invalid method while reading client request line")


def test_an_error_that_is_left_over_from_another_connection_ends_nothing() -> None:
    stale = "ignoring stale global SSL error (SSL: error:41800190:PKCS#11 module::Cryptoki not initialized)"
    done = "2026/11/24 17:33:34 [debug] 2894#2894: *2 SSL_do_handshake: 1\n"
    (entry,) = read(failing("alert", stale) + done).entries

    assert (entry.well, entry.code, entry.ended_ns) == (True, 0, (AT_S + 2) * NS)


def test_a_connection_in_the_middle_has_no_end() -> None:
    (entry,) = read(ACCEPTED + PENDING).entries

    assert (entry.port, entry.well, entry.ended_ns) == (40024, False, None)


def test_a_cut_off_last_line_counts_for_nothing() -> None:
    whole = STARTED + WELL + failing("info", "client closed connection")
    counts = [len(read(whole[:length]).entries) for length in range(len(whole) + 1)]

    assert sorted(set(counts)) == [0, 1, 2]
    assert counts == sorted(counts)
    assert {entry.port for length in range(len(whole)) for entry in read(whole[:length]).entries} == {40008, 40024}
    done = "SSL_do_handshake: 1"
    assert not read(whole[: whole.index(done) + len(done)]).entries[0].well


def test_workers_that_handle_the_same_number_are_kept_apart() -> None:
    other = WELL.replace("2894#2894", "2895#2895").replace("40008", "40009")

    assert [(entry.pid, entry.port) for entry in read(WELL + other).entries] == [(2894, 40008), (2895, 40009)]


def test_ends_of_workers_are_told_with_signal_or_status() -> None:
    log = read(
        "2026/11/24 17:33:33 [alert] 2893#2893: worker process 2894 exited on signal 11\n"
        "2026/11/24 17:33:33 [alert] 2893#2893: worker process 2895 exited on signal 6 (core dumped)\n"
        "2026/11/24 17:33:33 [notice] 2893#2893: worker process 2896 exited with code 0\n"
        "2026/11/24 17:33:33 [alert] 2893#2893: worker process 2897 exited with fatal code 2 and cannot be respawned\n"
    )

    assert dict(log.crashes) == {2894: 11, 2895: 6}
    assert dict(log.exits) == {2896: 0, 2897: 2}


def test_an_empty_log_tells_nothing() -> None:
    assert read("").entries == ()
