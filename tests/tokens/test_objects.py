"""What keys may do: asked of those that are there, given to those that are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from lab.native.cryptoki import Cryptoki
from lab.tokens import objects
from lab.tokens.request import DECRYPT, SIGN, Refused


class Key:
    """A session with one key, which takes what is generated."""

    def __init__(self, **attributes: bool) -> None:
        self._attributes = {getattr(objects, name): value for name, value in attributes.items()}
        self.private: Mapping[int, object] = {}

    def attribute(self, session: int, handle: int, attribute: int) -> bytes:
        return bytes([self._attributes.get(attribute, True)])

    def generate_key_pair(self, session: int, mechanism: int, public: Any, private: Any) -> None:
        self.private = private


def module(key: Key) -> Cryptoki:
    return cast(Cryptoki, key)


@pytest.mark.parametrize(("attribute", "use"), [("CKA_SIGN", SIGN), ("CKA_DECRYPT", DECRYPT)])
def test_a_key_that_may_not_do_what_it_is_for_is_refused(attribute: str, use: str) -> None:
    key = module(Key(**{attribute: False}))
    others = {SIGN, DECRYPT} - {use}

    objects.check_uses(key, 1, 2, "k", tuple(others))
    with pytest.raises(Refused, match=rf'^token\.key_label: key "k" is not allowed to {use} \({attribute} is false\)$'):
        objects.check_uses(key, 1, 2, "k", (SIGN, DECRYPT))


@pytest.mark.parametrize(("kind", "decrypts"), [("ec-p256", None), ("rsa-2048", True)])
def test_keys_are_made_to_sign_and_rsa_keys_to_decrypt_too(kind: str, decrypts: bool | None) -> None:
    key = Key()

    objects.generate(module(key), 1, kind, "k", "00ff")

    assert key.private[objects.CKA_SIGN] is True
    assert key.private.get(objects.CKA_DECRYPT) is decrypts
