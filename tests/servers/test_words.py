"""A server's last words: those that tell why, without the PIN, and what of a log is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.servers.words import last_words, without_pin, worth_keeping
from lab.tokens.model import Secret

PIN = Secret("0123/of the=token")


def words(folder: Path, *texts: str, pin: Secret = PIN) -> str:
    files = [folder / f"{place}.log" for place in range(len(texts) + 1)]  # the last is not there
    for path, text in zip(files, texts, strict=False):
        path.write_text(text)
    return last_words(files, pin)


def test_the_pin_is_taken_out_as_it_is_and_as_a_uri_spells_it() -> None:
    text = f"pkcs11:object=a?pin-value=0123%2Fof%20the%3Dtoken and {PIN.reveal()}, twice {PIN.reveal()}"
    assert without_pin(text, PIN) == "pkcs11:object=a?pin-value=(PIN) and (PIN), twice (PIN)"


def test_an_empty_pin_takes_nothing_out() -> None:
    assert without_pin("all of it", Secret("")) == "all of it"


def test_the_last_lines_of_each_file_stand_in_one_line(tmp_path: Path) -> None:
    console = "".join(f"line {number}\n" for number in range(9))
    assert words(tmp_path, console, "\n  the log's \n\n") == "line 4 | line 5 | line 6 | line 7 | line 8 | the log's"


def test_what_two_files_say_is_said_once(tmp_path: Path) -> None:
    assert words(tmp_path, "the same\n", "the same\n") == "the same"


HTTPD = """\
2026-11-24 17:50:14.379307 10215 10215 - - warn AH01873: Init: Session Cache is not configured
2026-11-24 17:50:14.380705 10215 10215 - - notice AH00163: Apache configured -- resuming normal operations
2026-11-24 17:50:14.380715 10215 10215 - - debug AH01964: Connection to child 0 established
2026-11-24 17:50:15.381959 10215 10215 - - emerg AH02312: Fatal error initialising mod_ssl, exiting.
"""
NGINX = """\
2026/11/24 17:33:32 [debug] 2893#2893: counter: 00007FBFA9495080, 1
2026/11/24 17:33:32 [info] 2893#2893: *1 client closed connection while SSL handshaking
2026/11/24 17:33:32 [notice] 2893#2893: start worker processes
2026/11/24 17:33:32 [emerg] 2893#2893: bind() to 127.0.0.1:443 failed (98: Address already in use)
"""
STUNNEL = """\
[.] Reading configuration from file stunnel.conf
[ ] Loading private key from file: k.pem
[ ] Listening file descriptor created (FD=8)
[.] Binding service [lab] to 127.0.0.1:35369: Address already in use (98)
[!] Binding service [lab] failed
[ ] Unbinding service [lab]
"""
TOLD = {
    "httpd": (HTTPD, ("AH01873", "AH02312")),
    "nginx": (NGINX, ("98: Address already in use",)),
    "stunnel": (STUNNEL, ("Address already in use (98)", "[!] Binding service [lab] failed")),
}


@pytest.mark.parametrize(("text", "fragments"), TOLD.values(), ids=TOLD)
def test_what_matters_is_not_lost_among_lines_of_low_levels(
    text: str, fragments: tuple[str, ...], tmp_path: Path
) -> None:
    said = words(tmp_path, text).split(" | ")
    assert len(said) == len(fragments)
    assert all(fragment in line for fragment, line in zip(fragments, said, strict=True))


def test_where_there_are_lines_of_low_levels_alone_they_are_told(tmp_path: Path) -> None:
    assert "start worker" in words(tmp_path, NGINX.rpartition("2026")[0])


def test_the_pin_is_not_in_the_words_and_a_log_that_is_no_text_is_read(tmp_path: Path) -> None:
    (tmp_path / "binary.log").write_bytes(b"\xff\xfe " + PIN.reveal().encode() + b"\n")
    said = last_words([tmp_path / "binary.log"], PIN)
    assert "(PIN)" in said
    assert PIN.reveal() not in said


def test_nobody_who_says_nothing_has_words(tmp_path: Path) -> None:
    assert words(tmp_path, "", "\n \n") == ""


def test_lines_that_are_rows_of_connections_are_not_kept_and_others_are() -> None:
    stunnel = "2026.11.24 17:50:14 LOG6[12]: TLS accepted: new session\n2026.11.24 17:50:14 LOG5[12]: kept\n"
    kept = worth_keeping(HTTPD + NGINX + stunnel)
    assert "AH01964" not in kept
    assert "counter" not in kept
    assert "TLS accepted" not in kept
    assert all(word in kept for word in ("AH00163", "AH02312", "start worker", "98: Address", "LOG5[12]: kept"))
    assert kept.endswith("\n")
