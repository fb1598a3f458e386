"""Failures by name, whatever layer they come from."""

from __future__ import annotations

import errno

import pytest

from lab.record.dtypes import LAYER, NETWORK, TLS
from lab.record.failure_names import failure_name

RECEIVED, SENT = TLS["alert_received"], TLS["alert_sent"]


@pytest.mark.parametrize(
    ("layer", "code", "name"),
    [
        ("pkcs11", 0x190, "CKR_CRYPTOKI_NOT_INITIALIZED"),
        ("tls", RECEIVED, "alert close_notify received"),
        ("tls", RECEIVED + 80, "alert internal_error received"),
        ("tls", SENT + 50, "alert decode_error sent"),
        ("tls", SENT + 255, "alert 255 sent"),
        ("tls", TLS["wrong_certificate"], "wrong certificate"),
        ("tls", TLS["bad_signature"], "bad signature"),
        ("tls", TLS["not_tls"], "not TLS"),
        ("tls", TLS["no_shared_cipher"], "no shared cipher"),
        ("tls", TLS["no_shared_version"], "no shared version"),
        ("tls", 99, "tls 99"),
        ("network", errno.ECONNREFUSED, "refused (ECONNREFUSED)"),
        ("network", errno.ECONNRESET, "reset (ECONNRESET)"),
        ("network", errno.ETIMEDOUT, "timed out (ETIMEDOUT)"),
        ("network", errno.EHOSTUNREACH, "EHOSTUNREACH"),
        ("network", NETWORK["closed"], "closed in mid-handshake"),
        ("network", 4095, "errno 4095"),
        ("openssl", 20 << 23 | 68, "OpenSSL error 20:68"),
        ("python", 3, "python 3"),
    ],
)
def test_a_failure_has_the_name_that_its_layer_gives_it(layer: str, code: int, name: str) -> None:
    assert failure_name(LAYER[layer], code) == name


def test_openssl_s_own_words_are_used_where_they_are_known() -> None:
    assert failure_name(LAYER["openssl"], 5, {5: "internal error"}) == "internal error"


def test_every_named_code_of_tls_and_the_network_has_words() -> None:
    for name, code in TLS.items():
        assert "tls" not in failure_name(LAYER["tls"], code), name
    for name, code in NETWORK.items():
        assert "errno" not in failure_name(LAYER["network"], code), name


def test_a_bridge_s_error_is_the_ckr_code_that_it_hands_on() -> None:
    library = 129
    assert failure_name(LAYER["openssl"], library << 23 | 0x60) == "CKR_KEY_HANDLE_INVALID, says the bridge"
    assert failure_name(LAYER["openssl"], library << 23 | 0x7654) == f"OpenSSL error {library}:{0x7654}"
