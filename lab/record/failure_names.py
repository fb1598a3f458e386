"""Names of failures, whatever layer they come from: CKR codes, alerts, errors of the network, OpenSSL's texts."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Final

from lab.record.definition import LAYER, NETWORK, TLS
from lab.record.names import ckr_name, ckr_number

LAYER_NAME: Final = {number: name for name, number in LAYER.items()}

# Source: RFC 8446, appendix B.2, and RFC 5246, section 7.2, for those that TLS 1.3 no longer sends.
_ALERT: Final = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    21: "decryption_failed",
    22: "record_overflow",
    30: "decompression_failure",
    40: "handshake_failure",
    41: "no_certificate",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    60: "export_restriction",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation",
    109: "missing_extension",
    110: "unsupported_extension",
    111: "certificate_unobtainable",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    114: "bad_certificate_hash_value",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
}
_TLS: Final = {
    TLS["wrong_certificate"]: "wrong certificate",
    TLS["bad_signature"]: "bad signature",
    TLS["not_tls"]: "not TLS",
    TLS["no_shared_cipher"]: "no shared cipher",
    TLS["no_shared_version"]: "no shared version",
}
_ERRNO: Final = {
    errno.ECONNREFUSED: "refused (ECONNREFUSED)",
    errno.ECONNRESET: "reset (ECONNRESET)",
    errno.ETIMEDOUT: "timed out (ETIMEDOUT)",
}
_OPENSSL_LIB_BITS: Final = 23  # ERR_LIB_OFFSET of OpenSSL 3: a packed error is library << 23 | reason
_FIRST_LOADED_LIBRARY: Final = 128  # ERR_LIB_USER: numbers of engines and providers are drawn from here on
_ALERTS: Final = 256  # an alert is one byte


def failure_name(layer: int, code: int, texts: Mapping[int, str] | None = None) -> str:
    """What a failed row says in words. `texts`: what OpenSSL says of its codes (TrialRecord.error_texts).

    >>> failure_name(LAYER["tls"], TLS["alert_received"] + 80)
    'alert internal_error received'
    """
    if layer == LAYER["pkcs11"]:
        return ckr_name(code)
    if layer == LAYER["tls"]:
        return _tls(code)
    if layer == LAYER["network"]:
        if code == NETWORK["closed"]:
            return "closed in mid-handshake"
        return _ERRNO.get(code) or errno.errorcode.get(code, f"errno {code}")
    if layer == LAYER["openssl"]:
        return (texts or {}).get(code) or _openssl(code)
    return f"{LAYER_NAME.get(layer, f'layer {layer}')} {code}"


def _openssl(code: int) -> str:
    """libp11 and pkcs11-provider give CKR codes as reasons, in libraries of their own numbers."""
    library, reason = code >> _OPENSSL_LIB_BITS, code & ((1 << _OPENSSL_LIB_BITS) - 1)
    if library >= _FIRST_LOADED_LIBRARY and ckr_number(ckr_name(reason)) is not None:
        return f"{ckr_name(reason)}, says the bridge"
    return f"OpenSSL error {library}:{reason}"


def _tls(code: int) -> str:
    for base, way in ((TLS["alert_received"], "received"), (TLS["alert_sent"], "sent")):
        if base <= code < base + _ALERTS:
            return f"alert {_ALERT.get(code - base, code - base)} {way}"
    return _TLS.get(code, f"tls {code}")
