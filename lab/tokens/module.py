"""Any PKCS#11 library by its path: a real HSM, or a software token that somebody else set up.

The lab looks, and signs with a key that is there. It creates and deletes nothing unless the scenario says
provision = true, and then only keys that were missing, which it deletes at the end.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lab.errors import LabFault, ScenarioError
from lab.tokens.keys import kind_of
from lab.tokens.model import KeyInfo, Prepared, Secret, TokenAccess, TokenSettings
from lab.tokens.objects import new_id
from lab.tokens.request import Request, Task, uses_of
from lab.tokens.throwaway import ask, prepared

READ_WRITE: Final = {"LAB_TAP_SESSIONS": "read-write"}
"""By the tap, as OpenSSL's libraries open the sessions that they like."""


class Module:
    """A token that outlives the run. Every trial uses the same one: there is nothing to restore."""

    kind: Final = "module"

    def __init__(self, settings: TokenSettings) -> None:
        self._settings = settings
        self._generated: tuple[str, ...] = ()
        self.timeout_s: float | None = None  # of one question to it; None: the usual

    def check(
        self,
        keys: frozenset[str],
        mechanisms: frozenset[tuple[str, str]],
        folder: Path | None = None,
        decrypt: frozenset[str] = frozenset(),
    ) -> Mapping[str, KeyInfo]:
        """See Token. Logs in once, so a wrong PIN costs one of the tries that the token allows."""
        wanted = frozenset() if self._settings.provision else keys | decrypt
        answer = self._ask("inspect", wanted, uses_of(keys, decrypt), mechanisms=tuple(sorted(mechanisms)))
        return prepared(answer).keys

    def check_as(self, user: str) -> None:
        """Raises ScenarioError, `server.user: ...`, where this user, whom a server's workers become, cannot log in.

        Where the user cannot even start the lab's program, it is not known.
        """
        try:
            self._ask("inspect", frozenset(), {}, user=user)
        except ScenarioError as error:
            raise ScenarioError(f"server.user: {user} cannot use the token that root can: {error}") from None
        except (LabFault, OSError):
            pass

    def prepare(self, keys: frozenset[str], folder: Path, decrypt: frozenset[str] = frozenset()) -> Prepared:
        """Looks at the token, and with provision = true makes the keys that are missing. `folder` stays empty."""
        folder.mkdir(mode=0o700)
        wanted, uses = keys | decrypt, uses_of(keys, decrypt)
        if not self._settings.provision:
            return prepared(self._ask("inspect", wanted, uses))
        # Drawn here: whatever becomes of the process that makes the keys, retire() knows which ones are the lab's.
        self._generated = tuple(new_id() for _ in wanted)
        try:
            answer = self._ask("generate", wanted, uses, ids=self._generated)
        except (ScenarioError, LabFault) as error:
            if str(error).startswith("token.pin"):
                self._generated = ()  # refused before anything was made, and a PIN is tried once
            self.retire()
            raise
        self._generated = tuple(answer["generated"])
        return prepared(answer)

    def restore(self, folder: Path, key: str | None = None) -> TokenAccess:
        """How to use the token. `folder` is made and stays empty."""
        folder.mkdir(mode=0o700)
        return TokenAccess(
            self.path,
            self._token_label(),
            read_pin(self._settings),
            self._key_label(key) if key else "",
            {**self._environment(), **(READ_WRITE if self._settings.read_write else {})},
            self._settings.init_string,
        )

    def retire(self) -> None:
        """Deletes the keys that prepare() generated. Raises LabFault, with their ids, where the token refuses."""
        if not self._generated:
            return
        ids, self._generated = self._generated, ()
        try:
            self._ask("destroy", frozenset(), {}, ids=ids)
        except (ScenarioError, LabFault) as error:
            raise LabFault(
                f"keys that the lab generated are still on the token, with CKA_ID {', '.join(ids)}: {error}"
            ) from error

    def _ask(
        self,
        task: Task,
        keys: frozenset[str],
        uses: Mapping[str, tuple[str, ...]],
        mechanisms: tuple[tuple[str, str], ...] = (),
        ids: tuple[str, ...] = (),
        user: str | None = None,
    ) -> dict[str, Any]:
        request = Request(
            task,
            str(self.path),
            self._token_label(),
            pin=read_pin(self._settings).reveal(),
            pin_key="token.pin_env" if self._settings.pin_env else "token.pin_file",
            init_string=self._settings.init_string,
            read_write=bool(self._settings.read_write),
            keys={name: self._key_label(name) for name in sorted(keys)},
            uses=uses,
            mechanisms=mechanisms,
            ids=ids,
        )
        return ask(
            request,
            self._environment(),
            without=self._settings.pin_env,
            timeout_s=self.timeout_s,
            user=user,
        )

    @property
    def path(self) -> Path:
        """See Token."""
        path = self._settings.path
        if path is None:
            raise ScenarioError('token.path: needed for kind = "module": the PKCS#11 library to load')
        if not Path(path).is_file():
            raise ScenarioError(f"token.path: {path} is {'a folder' if Path(path).is_dir() else 'no file'}")
        return Path(path).absolute()

    def _token_label(self) -> str:
        if self._settings.token_label is None:
            raise ScenarioError('token.token_label: needed for kind = "module": the label of the token to use')
        return self._settings.token_label

    def _key_label(self, name: str) -> str:
        """The label of the scenario, with the number of the name where it has one: k-0, k-1, ..."""
        kind = kind_of(name)
        return (self._settings.key_label or kind) + name.removeprefix(kind)

    def _environment(self) -> Mapping[str, str]:
        return dict(self._settings.environment or {})


def read_pin(settings: TokenSettings) -> Secret:
    """The PIN from the environment variable or the file that is named. Raises ScenarioError where it has none."""
    if settings.pin_env:
        value = os.environ.get(settings.pin_env, "")
        if not value:
            raise ScenarioError(f"token.pin_env: the environment variable {settings.pin_env} is not set, or is empty")
        return Secret(value)
    if settings.pin_file is None:
        raise ScenarioError("token.pin_env: needed, or token.pin_file: where the user PIN is")
    try:
        with open(settings.pin_file, encoding="utf-8") as file:
            others_may_read = bool(os.fstat(file.fileno()).st_mode & 0o044)
            value = file.read(4096).removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ScenarioError(f"token.pin_file: cannot read {settings.pin_file}: {why}") from None
    if not value or "\n" in value:
        what = "is empty" if not value else "has more than one line"
        raise ScenarioError(f"token.pin_file: {settings.pin_file} {what}; it must hold the user PIN and nothing else")
    if others_may_read:
        print(f"warning: token.pin_file: other users may read {settings.pin_file}", file=sys.stderr)
    return Secret(value)
