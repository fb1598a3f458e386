"""Python's side of the generator of handshakes (generate.c): one Generator per process, whose run() holds no GIL."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Literal

from lab.errors import LabFault
from lab.native import library

VERSIONS: Final = {"1.2": 0x0303, "1.3": 0x0304}
KEY_EXCHANGES: Final = {"ecdhe": "kECDHE", "rsa": "kRSA"}  # of TLS 1.2, as an OpenSSL cipher list


class _Host(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64) for name in ("address", "address_bytes", "name", "leaf", "leaf_bytes", "numeric")
    ]


class _Settings(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("bytes", "hosts", "host_count", "trust", "ciphers", "tag_key")),
        ("timeout_ns", ctypes.c_int64),
        *((name, ctypes.c_uint32) for name in ("version", "resume", "closes_first", "spare")),
    ]


class _Load(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("bytes", "arrivals", "arrival_count")),
        *((name, ctypes.c_int64) for name in ("release_ns", "warmup_ns", "duration_ns", "give_up_ns")),
        *((name, ctypes.c_uint32) for name in ("slots", "spare")),
    ]


@dataclass(frozen=True)
class Host:
    """A server to greet. Without a pinned certificate, its chain and its name are verified."""

    name: str  # for SNI; an address in numbers is not sent
    address: str  # a name or an address, IPv4 or IPv6
    port: int
    certificate: bytes | None = None  # DER of the only leaf that is accepted


@dataclass(frozen=True)
class Greeting:
    """How a process's handshakes are made. Either all hosts have a pinned certificate or none has."""

    hosts: tuple[Host, ...]
    version: Literal["1.2", "1.3"] = "1.3"
    key_exchange: Literal["ecdhe", "rsa"] = "ecdhe"
    timeout_ns: int = 5_000_000_000
    resume: bool = False
    closes_first: bool = False  # send close_notify before the server's is awaited: for servers that are not the lab's
    trust: str | None = None  # PEM file for hosts without a pinned certificate; None: the system's
    tag_key: str = field(default="", repr=False)  # hex, the tap's: signatures are tagged with it; "": they are not


@dataclass(frozen=True)
class Rush:
    """One process's part of the load. `arrivals` is (address, count) of int64 offsets in ns, None for a closed loop."""

    release_ns: int
    warmup_ns: int
    duration_ns: int
    give_up_ns: int
    slots: int  # closed loop: clients; open loop: the most connections at a time
    arrivals: tuple[int, int] | None = None


@cache
def _functions() -> ctypes.CDLL:
    generate = ctypes.CDLL(str(library("generate")))
    u32, u64, i64, pointer = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int64, ctypes.c_void_p
    names = [ctypes.c_char_p] * 3
    prototypes = {
        "generator_open": (pointer, [*names, u64, u32, ctypes.POINTER(ctypes.c_int)]),
        "generator_set": (ctypes.c_int, [pointer, pointer]),
        "generator_prepare": (ctypes.c_int, [pointer, u32]),
        "generator_run": (i64, [pointer, pointer]),
        "generator_stop": (None, [pointer]),
        "generator_close": (None, [pointer]),
        "generator_host_bytes": (u64, []),
        "generator_settings_bytes": (u64, []),
        "generator_load_bytes": (u64, []),
    }
    for name, (result, arguments) in prototypes.items():
        function = getattr(generate, name)
        function.restype, function.argtypes = result, arguments
    for structure, bytes_in_c in (
        (_Host, generate.generator_host_bytes()),
        (_Settings, generate.generator_settings_bytes()),
        (_Load, generate.generator_load_bytes()),
    ):
        if ctypes.sizeof(structure) != bytes_in_c:
            raise LabFault("libgenerate.so was built from another version of the lab: install the package again")
    return generate


def socket_address(host: str, port: int) -> bytes:
    """The `struct sockaddr` of a host. Raises LabFault where its name is not known."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise LabFault(f"{host}: {error.strerror}") from None
    if family == socket.AF_INET:
        # ip(7): family in the machine's order, port in the network's, address, and padding to 16 bytes
        return struct.pack("=H", family) + struct.pack("!H4s8x", port, socket.inet_pton(family, str(address[0])))
    numbers = str(address[0]).partition("%")[0]
    scope = int(address[3]) if len(address) > 3 else 0
    # ipv6(7): the flow is of no matter here; the scope is in the machine's order
    body = struct.pack("!H4x16s", port, socket.inet_pton(family, numbers))
    return struct.pack("=H", family) + body + struct.pack("=I", scope)


def is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


class Generator:
    """The rows and handshakes of one process.

    Raises LabFault where the files cannot be made (full disk, folder not writable).
    """

    def __init__(self, folder: Path, process: int, capacity: int) -> None:
        self._c = _functions()
        self._kept: list[object] = []  # what C holds pointers to
        error = ctypes.c_int()
        files = [folder / f"{what}-{process}.rows" for what in ("operations", "connections", "outputs")]
        self._generator = self._c.generator_open(*map(os.fsencode, files), capacity, process, ctypes.byref(error))
        if not self._generator:
            raise LabFault(f"{', '.join(map(str, files))}: {os.strerror(error.value)}")
        self.process = process

    def set(self, greeting: Greeting) -> None:
        """Once, before the first run. Raises LabFault where a host's name is not known, or OpenSSL refuses."""
        hosts = (_Host * len(greeting.hosts))(*(self._host(host) for host in greeting.hosts))
        self._kept.append(hosts)
        settings = _Settings(
            bytes=ctypes.sizeof(_Settings),
            hosts=ctypes.addressof(hosts),
            host_count=len(hosts),
            trust=self._text(greeting.trust),
            ciphers=self._text(KEY_EXCHANGES[greeting.key_exchange] if greeting.version == "1.2" else None),
            tag_key=self._text(greeting.tag_key or None),
            timeout_ns=greeting.timeout_ns,
            version=VERSIONS[greeting.version],
            resume=greeting.resume,
            closes_first=greeting.closes_first,
        )
        error = self._c.generator_set(self._generator, ctypes.byref(settings))
        if error:
            what = f" (trusted certificates: {greeting.trust})" if greeting.trust else ""
            raise LabFault(f"the generator refuses its settings: {os.strerror(error)}{what}")

    def prepare(self, slots: int) -> None:
        """Makes what the first handshakes need, so that the release finds it ready."""
        error = self._c.generator_prepare(self._generator, slots)
        if error:
            raise LabFault(f"the generator cannot have {slots} connections: {os.strerror(error)}")

    def run(self, rush: Rush) -> int:
        """The whole load, GIL released. Returns the number of handshakes begun."""
        address, count = rush.arrivals or (0, 0)
        load = _Load(
            bytes=ctypes.sizeof(_Load),
            arrivals=address,
            arrival_count=count,
            release_ns=rush.release_ns,
            warmup_ns=rush.warmup_ns,
            duration_ns=rush.duration_ns,
            give_up_ns=rush.give_up_ns,
            slots=rush.slots,
        )
        begun = int(self._c.generator_run(self._generator, ctypes.byref(load)))
        if begun < 0:
            raise LabFault(f"the generator refuses its load: {rush}")
        return begun

    def stop(self) -> None:
        """Begins no further handshake; those under way come to their end. Any thread may call it."""
        self._c.generator_stop(self._generator)

    def close(self) -> None:
        if self._generator:
            self._c.generator_close(self._generator)
        self._generator = None

    def _host(self, host: Host) -> _Host:
        address = socket_address(host.address, host.port)
        leaf = host.certificate or b""
        return _Host(
            address=self._bytes(address),
            address_bytes=len(address),
            name=self._text(host.name or None),
            leaf=self._bytes(leaf) if leaf else 0,
            leaf_bytes=len(leaf),
            numeric=is_address(host.name),
        )

    def _text(self, text: str | None) -> int:
        return 0 if text is None else self._bytes(os.fsencode(text))

    def _bytes(self, content: bytes) -> int:
        """Address of a copy, with a NUL after it, that lives as long as this object."""
        buffer = ctypes.create_string_buffer(content)
        self._kept.append(buffer)
        return ctypes.addressof(buffer)
