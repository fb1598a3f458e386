"""Steps of a context's set-up as rows: two-step like every row, so that a crash or hang in C_Login is on record too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lab.native.cryptoki import CryptokiError, NotAModule
from lab.native.loops import Drive
from lab.record.names import FUNCTION_NUMBER, ckr_name

CKR_SLOT_ID_INVALID, CKR_GENERAL_ERROR, CKR_TOKEN_NOT_PRESENT, CKR_KEY_HANDLE_INVALID = 0x3, 0x5, 0xE0, 0x60
CKR_CRYPTOKI_NOT_INITIALIZED, CKR_USER_ALREADY_LOGGED_IN = 0x190, 0x100


class SetUpFailed(Exception):
    """A step of the set-up failed: this process has no usable context. The operations it was to do are refused."""

    def __init__(self, function: str, code: int, layer: str = "pkcs11") -> None:
        """`function`: of PKCS#11, or, for a code of another layer, what went wrong in words."""
        super().__init__(f"{function} {ckr_name(code)}" if layer == "pkcs11" else function)
        self.function = function
        self.code = code
        self.layer = layer

    @property
    def refusal(self) -> tuple[int, int]:
        """Code and number of the function, for the rows of the refused operations."""
        return self.code, FUNCTION_NUMBER.get(self.function, 0)


@contextmanager
def step(drive: Drive, kind: str, phase: str = "setup", vhost: int = 0) -> Iterator[None]:
    """Records the block as one row; a CryptokiError in it is recorded and becomes SetUpFailed."""
    row = drive.begin(kind, phase, vhost=vhost)
    try:
        yield
    except CryptokiError as error:
        drive.end(row, error.ckr, FUNCTION_NUMBER.get(error.function, 0))
        raise SetUpFailed(error.function, error.ckr) from None
    except SetUpFailed as error:
        drive.end(row, *error.refusal, layer=error.layer)
        raise
    except NotAModule as error:
        drive.end(row, CKR_GENERAL_ERROR)
        raise SetUpFailed(f"loading: {error}", CKR_GENERAL_ERROR) from None
    drive.end(row)
