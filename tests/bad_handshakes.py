"""Scenarios of handshakes that cannot be, for tests/bad_scenarios.py."""

from __future__ import annotations

from tests.bad import EXTERNAL, HANDSHAKE, MODULE, Bad

HANDSHAKES: tuple[Bad, ...] = (
    Bad("TLS version", HANDSHAKE + b'[tls]\nversion = "1.1"', ("tls.version", '"1.1"', "1.2, 1.3")),
    Bad("bridge", HANDSHAKE + b'[tls]\nbridge = "libp11"', ("tls.bridge", "direct, engine, provider, software")),
    Bad(
        "server",
        HANDSHAKE + b'[tls]\nserver = "apache"',
        ("tls.server", '"apache"', "lab, external, httpd, nginx, stunnel"),
    ),
    Bad("key exchange", HANDSHAKE + b'[tls]\nkey_exchange = "dhe"', ("tls.key_exchange", "ecdhe, rsa")),
    Bad("vhost_by", HANDSHAKE + b'[tls]\nvhost_by = "port"', ("tls.vhost_by", "sni, ip")),
    Bad("resumption", HANDSHAKE + b"[tls]\nresumption = true", ("tls.resumption", "off, shared, per-process")),
    Bad("no vhost", HANDSHAKE + b"[tls]\nvhosts = 0", ("tls.vhosts", "1 to 1000")),
    Bad("1001 vhosts", HANDSHAKE + b"[tls]\nvhosts = 1001", ("tls.vhosts", "1 to 1000")),
    Bad("port 0", HANDSHAKE + b"[tls]\nport = 0", ("tls.port", "1 to 65535")),
    Bad("a port too high", HANDSHAKE + b"[tls]\nport = 65536", ("tls.port", "1 to 65535")),
    Bad("no time for a handshake", HANDSHAKE + b"[tls]\ntimeout_s = 0", ("tls.timeout_s", "0.05", "600")),
    Bad("a misspelt key of TLS", HANDSHAKE + b"[tls]\nvhost = 4", ("tls.vhost", "did you mean vhosts?")),
    Bad("TLS for sign", b'[tls]\nversion = "1.2"', ("tls.version", "handshake")),
    Bad("event for sign", b'[topology]\nkind = "event"', ("topology.kind", "handshake", "prefork, worker")),
    Bad(
        "event with threads",
        HANDSHAKE + b'[topology]\nkind = "event"\nthreads = 2',
        ("topology.threads", "event", "use 1"),
    ),
    Bad(
        "children that end at sign",
        b"[topology]\nconnections_per_child = 5",
        ("topology.connections_per_child", "handshake"),
    ),
    Bad(
        "children that end in threads",
        HANDSHAKE + b'[topology]\nkind = "threads"\nconnections_per_child = 5',
        ("topology.connections_per_child", "threads", "prefork, worker, event"),
    ),
    Bad(
        "children without a connection",
        HANDSHAKE + b"[topology]\nconnections_per_child = 0",
        ("topology.connections_per_child", "1 to 1000000"),
    ),
    Bad(
        "a parent busy with handshakes",
        HANDSHAKE + b'[topology]\nfork_point = "threads-busy"\n[context]\npolicy = "shared"',
        ("topology.fork_point", 'workload.kind = "sign"', "idle"),
    ),
    Bad(
        "a mechanism for handshake",
        HANDSHAKE + b'mechanism = "ECDSA"',
        ("workload.mechanism", "sign", "TLS chooses it"),
    ),
    Bad("a driver for handshake", HANDSHAKE + b'driver = "native"', ("workload.driver", "handshake", "tls.bridge")),
    Bad(
        "decryption with an EC key",
        HANDSHAKE + b'[tls]\nversion = "1.2"\nkey_exchange = "rsa"',
        ("tls.key_exchange", "rsa key", "ec-p256", "ecdhe"),
    ),
    Bad(
        "decryption in TLS 1.3",
        HANDSHAKE + b'key = "rsa-2048"\n[tls]\nkey_exchange = "rsa"',
        ("tls.key_exchange", "1.3", "ecdhe", "1.2"),
    ),
    Bad(
        "decryption through the engine",
        HANDSHAKE + b'key = "rsa-2048"\n[tls]\nversion = "1.2"\nkey_exchange = "rsa"\nbridge = "engine"',
        ("tls.key_exchange", "engine", "libssl decrypts only with keys of a provider", "direct, provider"),
    ),
    Bad("ciphers of TLS 1.3", HANDSHAKE + b'[tls]\nciphers = "AES128-SHA"', ("tls.ciphers", "1.2")),
    Bad(
        "a session policy for the engine",
        HANDSHAKE + b'[tls]\nbridge = "engine"\n[context]\nsession = "pool"',
        ("context.session", "engine", "direct"),
    ),
    Bad(
        "a pool size for the provider",
        HANDSHAKE + b'[tls]\nbridge = "provider"\n[context]\npool_size = 2',
        ("context.pool_size", "provider", "direct"),
    ),
    Bad(
        "own sessions of the provider in an inherited context",
        HANDSHAKE + b'[tls]\nbridge = "provider"\n[context]\npolicy = "shared"\ninherit = "context"',
        ("context.inherit", "provider", "sessions", "direct"),
    ),
    Bad(
        "more vhosts than addresses",
        HANDSHAKE + b'[tls]\nvhosts = 254\nvhost_by = "ip"',
        ("tls.vhosts", "more vhosts than addresses", "at most 253", "sni"),
    ),
    Bad("a certificate for softhsm", HANDSHAKE + b'[tls]\ncertificate = "c.pem"', ("tls.certificate", "module")),
    Bad(
        "a certificate for two hosts",
        MODULE + b'key_label = "k"\npin_env = "P"\n' + HANDSHAKE + b'[tls]\ncertificate = "c.pem"\nvhosts = 2',
        ("tls.certificate", "one virtual host", "vhosts = 1"),
    ),
    Bad("a handshake without a key", MODULE + b'pin_env = "P"\n' + HANDSHAKE, ("token.key_label", "missing")),
    Bad(
        "a token for software",
        b"[token]\nreset_on_fork = true\n" + HANDSHAKE + b'[tls]\nbridge = "software"',
        ("token.reset_on_fork", "software", "leave [token] out"),
    ),
    Bad(
        "a context for software",
        b'[context]\npolicy = "shared"\n' + HANDSHAKE + b'[tls]\nbridge = "software"',
        ("context.policy", "software", "leave [context] out", "direct, engine or provider"),
    ),
    Bad("a host for the lab's server", HANDSHAKE + b'[tls]\nhost = "::1"', ("tls.host", "external")),
    Bad("trust for the lab's server", HANDSHAKE + b'[tls]\ntrust = "ca.pem"', ("tls.trust", "external")),
    Bad("an external server nowhere", HANDSHAKE + b'[tls]\nserver = "external"\nport = 1', ("tls.host", "missing")),
    Bad(
        "an external server at no port",
        HANDSHAKE + b'[tls]\nserver = "external"\nhost = "a"',
        ("tls.port", "missing"),
    ),
    Bad("a bridge of an external server", EXTERNAL + b'bridge = "direct"', ("tls.bridge", '"lab"', "for itself")),
    Bad("ciphers of an external server", EXTERNAL + b'version = "1.2"\nciphers = "ALL"', ("tls.ciphers", '"lab"')),
    Bad("key exchange of an external server", EXTERNAL + b'key_exchange = "ecdhe"', ("tls.key_exchange", '"lab"')),
    Bad("vhosts of an external server", EXTERNAL + b"vhosts = 2", ("tls.vhosts", '"lab"')),
    Bad("vhost_by of an external server", EXTERNAL + b'vhost_by = "sni"', ("tls.vhost_by", '"lab"')),
    Bad("tickets of an external server", EXTERNAL + b'resumption = "off"', ("tls.resumption", '"lab"')),
    Bad("a certificate of an external server", EXTERNAL + b'certificate = "c"', ("tls.certificate", '"lab"')),
    Bad(
        "processes of an external server",
        EXTERNAL + b"[topology]\nprocesses = 2",
        ("topology.processes", "external", "leave [topology] out"),
    ),
    Bad(
        "children of an external server that end",
        EXTERNAL + b"[topology]\nconnections_per_child = 2",
        ("topology.connections_per_child", "external", "leave [topology] out"),
    ),
    Bad("a token of an external server", EXTERNAL + b'[token]\nkind = "softhsm"', ("token.kind", "external")),
    Bad("a context of an external server", EXTERNAL + b'[context]\nsession = "pool"', ("context.session", "external")),
    Bad(
        "a key of an external server",
        EXTERNAL + b"[load]\nrate_hz = 5",
        ("--set workload.key", "external", "its own"),
        ("workload.key=rsa-2048",),
    ),
    Bad("intruders on an external server", EXTERNAL + b"[load]\nintruders.silent = 1", ("load.intruders", '"lab"')),
    Bad("clients in an open loop", HANDSHAKE + b"[load]\nclients = 4", ("load.clients", "closed", "open")),
    Bad("no clients", HANDSHAKE + b'[load]\nmode = "closed"\nclients = 0', ("load.clients", "1 to 4096")),
    Bad("generators for sign", b"[load]\ngenerators = 2", ("load.generators", "handshake")),
    Bad("seventeen generators", HANDSHAKE + b"[load]\ngenerators = 17", ("load.generators", "1 to 16")),
    Bad(
        "more generators than clients",
        HANDSHAKE + b'[load]\nmode = "closed"\nclients = 2\ngenerators = 3',
        ("load.generators", "3", "2 clients"),
    ),
    Bad("intruders for sign", b"[load]\nintruders = { silent = 1 }", ("load.intruders", "handshake")),
    Bad(
        "more intruders than sense", HANDSHAKE + b"[load]\nintruders.rubbish=10001", ("intruders.rubbish", "0 to 10000")
    ),
    Bad("unknown intruders", HANDSHAKE + b"[load]\nintruders.noise = 1", ("load.intruders.noise", "silent, rubbish")),
    Bad("intruders as a number", HANDSHAKE + b"[load]\nintruders = 3", ("load.intruders", "a table")),
    Bad("intruders in a matrix", b'[matrix]\n"load.intruders" = [1]', ("load.intruders", "a table")),
)
