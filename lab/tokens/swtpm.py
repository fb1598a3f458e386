"""swtpm: a TPM 2.0 in software, as a program beside a trial, and what is said to it without any TPM library.

One TPM has one folder: its state, the sockets of its daemon, and, where a resource manager stands before it, a private
D-Bus on which tpm2-abrmd is started when the first process asks for it. Sources: swtpm(8), tpm2-abrmd(8),
dbus-daemon(1), TPM 2.0 Library part 3 (commands) and part 2 (codes).
"""

from __future__ import annotations

import re
import socket
import struct
import subprocess
from pathlib import Path
from typing import Final

from lab.errors import LabFault
from lab.record.order import BesideOrder
from lab.tokens.installed import LIBRARY_FOLDERS, Installed, program
from lab.tokens.socket_path import check_length

PROGRAM: Final = Installed(
    what="tpm2",
    file="swtpm",
    package="swtpm",
    patterns=("/usr/bin/swtpm", "/usr/local/bin/swtpm"),
    override="LAB_SWTPM",
)
MANAGER: Final = Installed(
    what="the resource manager",
    file="tpm2-abrmd",
    package="tpm2-abrmd",
    patterns=("/usr/sbin/tpm2-abrmd", "/usr/local/sbin/tpm2-abrmd"),
    override="LAB_TPM2_ABRMD",
)
STATE: Final = "state"
"""Folder of the TPM's own memory, in the folder of a TPM."""

_KIND, _MANAGED = "token.kind", "token.resource_manager"  # the keys that ask for the parts
_FLAGS: Final = "not-need-init,startup-clear"  # no client has to initialise it, and nothing transient is in it
_PLAIN: Final = re.compile(r"[A-Za-z0-9/._-]+")
_BUS_NAME: Final = "com.intel.tss2.Tabrmd"  # what its clients ask for

_ANSWER_S: Final = 10.0
_NO_SESSIONS, _SESSIONS = 0x8001, 0x8002  # TPM_ST_*
_CC_GET_CAPABILITY, _CC_SHUTDOWN, _CC_LOCK_RESET = 0x17A, 0x145, 0x139  # TPM_CC_*
_CAP_PROPERTIES, _PT_LOCKOUT_COUNTER = 6, 0x20E  # TPM_CAP_TPM_PROPERTIES, TPM_PT_LOCKOUT_COUNTER
_RH_LOCKOUT, _RS_PW = 0x4000000A, 0x40000009
_SU_CLEAR: Final = 0


def find_parts(resource_manager: bool) -> None:
    """Raises ScenarioError where something is missing that Swtpm needs."""
    _program()
    _connector("swtpm", PROGRAM.what, _KIND)
    if resource_manager:
        _manager()
        _bus()
        _connector("tabrmd", MANAGER.what, _MANAGED)


class Swtpm:
    """The TPM of one folder. Raises LabFault where a path in it cannot be told to the programs.

    Each command of a client is a connection of its own, so several processes can use it. But it holds three loaded
    objects, of which one is needed while another is loaded or used, and three sessions, of all clients together; with
    a resource manager each client has as many for itself.
    """

    def __init__(self, folder: Path, resource_manager: bool = False) -> None:
        self.folder = folder.absolute()
        self.resource_manager = resource_manager
        check_length(Path(f"{self.socket}.ctrl"))
        if not _PLAIN.fullmatch(str(self.folder)):
            raise LabFault(f"{self.folder}: swtpm takes only letters, digits and ._- in paths; use another TMPDIR")

    @property
    def socket(self) -> Path:
        return self.folder / "tpm"  # libtss2-tcti-swtpm finds the control socket by its name: this one, and .ctrl

    @property
    def environment(self) -> dict[str, str]:
        """For the TSS of a client. Its warnings are left out: the module tells its own errors, once each."""
        quiet = {"TSS2_LOG": "all+NONE"}
        if self.resource_manager:
            return {**quiet, "TPM2_PKCS11_TCTI": "tabrmd:bus_type=session", **self._bus_address}
        return {**quiet, "TPM2_PKCS11_TCTI": f"swtpm:path={self.socket}"}

    def beside(self) -> tuple[BesideOrder, ...]:
        """Writes what configuration there is; the programs to start, in their order."""
        process_file = self.folder / "swtpm.pid"  # it is there when the sockets listen
        command = (
            *(str(_program()), "socket", "--tpm2", "--flags", _FLAGS),
            *("--tpmstate", f"dir={self.folder / STATE},mode=0600"),
            *("--server", f"type=unixio,path={self.socket},mode=0600"),
            *("--ctrl", f"type=unixio,path={self.socket}.ctrl,mode=0600"),
            *("--pid", f"file={process_file}", "--log", "file=-"),  # -: no log, which has a line for each command
        )
        daemon = BesideOrder(command, {}, None, str(process_file))
        return (daemon, self._manager_order()) if self.resource_manager else (daemon,)

    def settle(self) -> None:
        """Starts the TPM, forgives all failed authorisations, and shuts it down as a machine does that is turned off.

        A TPM that was only killed counts one at its next start (TPM 2.0 part 1, "Non-orderly shutdown"), and of three
        this one locks. swtpm ends with the connection, so it cannot outlive this process. Raises LabFault.
        """
        ours, its = socket.socketpair()
        command = (
            *(str(_program()), "socket", "--tpm2", "--flags", _FLAGS, "--log", "file=-", "--terminate"),
            *("--tpmstate", f"dir={self.folder / STATE},mode=0600", "--fd", str(its.fileno())),
        )
        with ours, its:
            started = subprocess.Popen(
                command,
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            its.close()
            try:
                # the empty password of the lockout authority: handle, size of what follows, session, nonce, flags, HMAC
                authorised = struct.pack(">IIIHBH", _RH_LOCKOUT, 9, _RS_PW, 0, 0, 0)
                _say(ours, _CC_LOCK_RESET, authorised, _SESSIONS)
                _say(ours, _CC_SHUTDOWN, struct.pack(">H", _SU_CLEAR))
                ours.close()
                started.wait(_ANSWER_S)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise LabFault(f"swtpm did not shut down: {error}") from None
            finally:
                started.kill()
                started.wait()

    @property
    def _bus_address(self) -> dict[str, str]:
        return {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.folder / 'bus'}"}

    def _manager_order(self) -> BesideOrder:
        """A bus for those who can reach the folder, which starts tpm2-abrmd; that one ends with its bus."""
        services, process_file = self.folder / "services", self.folder / "bus.pid"
        services.mkdir(mode=0o700, exist_ok=True)
        (services / f"{_BUS_NAME}.service").write_text(
            f"[D-BUS Service]\nName={_BUS_NAME}\n"
            f"Exec={_manager()} --session --allow-root --flush-all --tcti=swtpm:path={self.socket}\n"
        )
        configuration = self.folder / "bus.conf"
        configuration.write_text(
            '<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"\n'
            ' "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">\n'
            f"<busconfig><type>session</type><listen>unix:path={self.folder / 'bus'}</listen><auth>EXTERNAL</auth>\n"
            f"<pidfile>{process_file}</pidfile><servicedir>{services}</servicedir>\n"
            '<policy context="default"><allow user="*"/><allow own="*"/><allow eavesdrop="true"/>\n'
            '<allow send_destination="*" eavesdrop="true"/></policy></busconfig>\n'
        )
        command = (str(_bus()), "--nofork", "--nosyslog", f"--config-file={configuration}")
        return BesideOrder(command, self._bus_address, None, str(process_file))


def swtpm_version() -> str:
    """As swtpm tells it: `swtpm version 0.7.1`. Raises ScenarioError where there is none."""
    asked = subprocess.run([_program(), "--version"], capture_output=True, text=True, check=False)
    line = next(iter((asked.stdout or asked.stderr).splitlines()), "")
    return "swtpm " + (found[0] if (found := re.findall(r"\d[\w.]*", line)) else "of unknown version")


def failed_authorisations(socket_path: Path) -> int:
    """The TPM's count towards its lock (TPM_PT_LOCKOUT_COUNTER), asked over the socket of a running swtpm."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ANSWER_S)
        connection.connect(str(socket_path))
        asked = struct.pack(">III", _CAP_PROPERTIES, _PT_LOCKOUT_COUNTER, 1)
        *_, counted = struct.unpack(">BIIII", _say(connection, _CC_GET_CAPABILITY, asked))
    return int(counted)


def _say(connection: socket.socket, command: int, body: bytes, tag: int = _NO_SESSIONS) -> bytes:
    """One command; the body of its answer. Raises LabFault where the TPM refuses, OSError where it does not answer."""
    connection.settimeout(_ANSWER_S)
    head = struct.Struct(">HII")  # tag, size of all, code
    connection.sendall(head.pack(tag, head.size + len(body), command) + body)
    _, size, code = head.unpack(_receive(connection, head.size))
    answer = _receive(connection, size - head.size)
    if code:
        raise LabFault(f"swtpm answered {code:#x} to the command {command:#x}")
    return answer


def _receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        if not (part := connection.recv(size - len(received))):
            raise ConnectionError("it closed the connection")
        received += part
    return received


def _program() -> Path:
    return PROGRAM.path(_KIND)


def _manager() -> Path:
    return MANAGER.path(_MANAGED)


def _bus() -> Path:
    return program("dbus-daemon", "dbus-daemon", _MANAGED)


def _connector(name: str, what: str, key: str) -> None:
    """The library through which the TSS reaches `name`. It is loaded by its name, so there is no override."""
    file = f"libtss2-tcti-{name}.so.0"
    places = tuple(f"{folder}/{file}" for folder in LIBRARY_FOLDERS)
    Installed(what, file, f"libtss2-tcti-{name}0", places).path(key)
