"""Scenarios of real servers that cannot be, for tests/bad_scenarios.py."""

from __future__ import annotations

from tests.bad import EXTERNAL, HANDSHAKE, MODULE, Bad

HTTPD = HANDSHAKE + b'[tls]\nserver = "httpd"\n'
NGINX = HANDSHAKE + b'[tls]\nserver = "nginx"\n'
STUNNEL = HANDSHAKE + b'[tls]\nserver = "stunnel"\n'
REAL = "httpd, nginx, stunnel"
PROXY = b'[token]\nkind = "p11kit-proxy"\n'

REAL_SERVERS: tuple[Bad, ...] = (
    # topology
    Bad(
        "threads of httpd alone",
        HTTPD + b'[topology]\nkind = "threads"',
        ("topology.kind", '"threads"', '"httpd"', "one of prefork, worker, event"),
    ),
    Bad(
        "httpd that execs its children",
        HTTPD + b'[topology]\nkind = "spawn"',
        ("topology.kind", "prefork, worker, event"),
    ),
    Bad("prefork of nginx", NGINX + b'[topology]\nkind = "prefork"', ("topology.kind", '"nginx"', "use event")),
    Bad("prefork of stunnel", STUNNEL + b'[topology]\nkind = "prefork"', ("topology.kind", '"stunnel"', "use threads")),
    Bad(
        "threads on httpd's prefork",
        HTTPD + b"[topology]\nthreads = 4",
        ("topology.threads", "prefork", "use 1", '"worker" or "event"'),
    ),
    Bad("threads of nginx", NGINX + b"[topology]\nthreads = 4", ("topology.threads", '"nginx"', "use 1")),
    Bad("threads of stunnel", STUNNEL + b"[topology]\nthreads = 1", ("topology.threads", "one for each connection")),
    Bad("two stunnels", STUNNEL + b"[topology]\nprocesses = 2", ("topology.processes", '"stunnel"', "use 1")),
    Bad(
        "more than 2000 threads of httpd",
        HTTPD + b'[topology]\nkind = "event"\nprocesses = 200\nthreads = 11',
        ("topology.threads", "2200", "2000"),
    ),
    Bad(
        "a fork point of httpd",
        HTTPD + b'[topology]\nfork_point = "idle"',
        ("topology.fork_point", '"httpd"', "the server lab"),
    ),
    Bad("busy threads of httpd", HTTPD + b"[topology]\nbusy_threads = 2", ("topology.busy_threads", "the server lab")),
    Bad("a herd of nginx", NGINX + b'[topology]\nstart = "herd"', ("topology.start", '"nginx"', "the server lab")),
    Bad(
        "workers of nginx that end",
        NGINX + b"[topology]\nconnections_per_child = 5",
        ("topology.connections_per_child", '"nginx"', "httpd or lab"),
    ),
    Bad(
        "a stunnel that ends",
        STUNNEL + b"[topology]\nconnections_per_child = 5",
        ("topology.connections_per_child", '"stunnel"', "httpd or lab"),
    ),
    # context
    Bad("a policy of httpd", HTTPD + b'[context]\npolicy = "reinit"', ("context.policy", "found and reported", "lab")),
    Bad("an inheritance of httpd", HTTPD + b'[context]\ninherit = "sessions"', ("context.inherit", "locking only")),
    Bad("a session policy of nginx", NGINX + b'[context]\nsession = "pool"', ("context.session", "locking only")),
    Bad("a pool of stunnel", STUNNEL + b"[context]\npool_size = 2", ("context.pool_size", "locking only")),
    Bad("locking of httpd that is none", HTTPD + b'[context]\nlocking = "fcntl"', ("context.locking", "os, none")),
    # TLS
    Bad("the bridge direct of httpd", HTTPD + b'bridge = "direct"', ("tls.bridge", '"httpd"', "engine, provider")),
    Bad("the bridge software of nginx", NGINX + b'bridge = "software"', ("tls.bridge", '"nginx"', "engine, provider")),
    Bad("tickets of httpd", HTTPD + b'resumption = "shared"', ("tls.resumption", '"shared"', "use off")),
    Bad("a host for httpd", HTTPD + b'host = "::1"', ("tls.host", "external", "on this machine")),
    Bad("trust for nginx", NGINX + b'trust = "ca.pem"', ("tls.trust", "external")),
    Bad("hosts of stunnel", STUNNEL + b"vhosts = 2", ("tls.vhosts", '"stunnel"', "use 1", "httpd, nginx")),
    Bad("254 addresses of httpd", HTTPD + b'vhosts = 254\nvhost_by = "ip"', ("tls.vhosts", "at most 253", "sni")),
    Bad("a certificate of httpd for softhsm", HTTPD + b'certificate = "c.pem"', ("tls.certificate", '"module"')),
    Bad(
        "decryption by httpd with an EC key",
        HTTPD + b'bridge = "provider"\nversion = "1.2"\nkey_exchange = "rsa"',
        ("tls.key_exchange", "rsa key", "ec-p256"),
    ),
    Bad(
        "decryption by httpd through the engine",
        HANDSHAKE + b'key = "rsa-2048"\n[tls]\nserver = "httpd"\nversion = "1.2"\nkey_exchange = "rsa"',
        ("tls.key_exchange", "engine", "ecdhe", "the bridge provider"),
    ),
    Bad(
        "decryption by nginx in TLS 1.3",
        HANDSHAKE + b'key = "rsa-2048"\n[tls]\nserver = "nginx"\nbridge = "provider"\nkey_exchange = "rsa"',
        ("tls.key_exchange", "1.3", "ecdhe", "1.2"),
    ),
    Bad("intruders on httpd", HTTPD + b"[load]\nintruders.silent = 1", ("load.intruders", '"lab"', '"httpd"')),
    Bad(
        "a library for the bridge direct",
        HANDSHAKE + b'[tls]\nbridge_library = "pkcs11.so"',
        ("tls.bridge_library", '"engine" or "provider"', '"direct"'),
    ),
    Bad(
        "a library for software",
        HANDSHAKE + b'[tls]\nbridge="software"\nbridge_library = "x.so"',
        ("tls.bridge_library", '"engine"'),
    ),
    Bad(
        "a library of an external server",
        EXTERNAL + b'bridge_library = "x.so"',
        ("tls.bridge_library", '"lab"', "for itself"),
    ),
    Bad("a library without a name", HTTPD + b'bridge_library = ""', ("tls.bridge_library", "text of 1 to 4096")),
    # server
    Bad("a user for the lab's server", HANDSHAKE + b'[server]\nuser = "nobody"', ("server.user", REAL, '"lab"')),
    Bad("a reload of an external server", EXTERNAL + b"[server]\nreload_at_s = 1", ("server.reload_at_s", REAL)),
    Bad("a server for sign", b"[server]\nforeground = false", ("server.foreground", "handshakes", REAL, '"sign"')),
    Bad("a server as text", HANDSHAKE + b'[tls]\nserver = "httpd"\n[load]', ("--set server", "a table"), ("server=x",)),
    Bad("a misspelt key of a server", HTTPD + b"[server]\nreload_at = 1", ("server.reload_at", "reload_at_s?")),
    Bad("a user of TLS", HTTPD + b'user = "nobody"', ("tls.user", "did you mean server.user?")),
    Bad("a user that is a directive", HTTPD + b'[server]\nuser = "a\\nLoadFile x"', ("server.user", "name of a user")),
    Bad("workers as root", HTTPD + b'[server]\nuser = "root"', ("server.user", '"root"', "www-data")),
    Bad("foreground as text", HTTPD + b'[server]\nforeground = "no"', ("server.foreground", "true or false")),
    Bad("env lines of httpd", HTTPD + b"[server]\nenv_lines = false", ("server.env_lines", '"nginx"', '"httpd"')),
    Bad("env lines of stunnel", STUNNEL + b"[server]\nenv_lines = true", ("server.env_lines", '"nginx"', '"stunnel"')),
    Bad(
        "a reload after the load",
        HTTPD + b"[server]\nreload_at_s = 3.0\n[load]\nwarmup_s = 1\nduration_s = 2",
        ("server.reload_at_s", "3 is after the load", "3 s", "use less"),
    ),
    Bad(
        "a kill after the load",
        NGINX + b"[server]\nkill_at_s = 6.5",
        ("server.kill_at_s", "6.5 is after the load", "6 s", "use less"),
    ),
    Bad("a kill before the load", NGINX + b"[server]\nkill_at_s = -1", ("server.kill_at_s", "from 0 to 3600")),
    Bad(
        "a reload in the far future", NGINX + b"[server]\nreload_at_s = 3601", ("server.reload_at_s", "from 0 to 3600")
    ),
    Bad("a kill of stunnel", STUNNEL + b"[server]\nkill_at_s = 1", ("server.kill_at_s", '"stunnel"', "httpd or nginx")),
    Bad(
        "a reload in one arm after its load",
        HTTPD + b'[[arm]]\nname = "a"\n[[arm]]\nname = "b"\nserver.reload_at_s = 60',
        ('arm "b"', "server.reload_at_s", "60"),
    ),
    Bad("a server in a matrix", HTTPD + b'[matrix]\n"server" = [1]', ("matrix.server", "is a table")),
    Bad("no number in a matrix", HTTPD + b'[matrix]\n"server.kill_at_s" = ["x"]', ("server.kill_at_s", '"x"', "3600")),
    Bad(
        "an override of a server that an arm hides",
        HTTPD + b'[[arm]]\nname = "a"\nserver.kill_at_s = 1',
        ("--set server.kill_at_s", "arm.a.server.kill_at_s"),
        ("server.kill_at_s=2",),
    ),
    Bad("an override of a server", HTTPD, ("--set server.user", "name of a user"), ("server.user='a b'",)),
    # tokens
    Bad("a path for p11kit-proxy", PROXY + b'path = "/m.so"', ("token.path", '"module"', "p11kit-proxy")),
    Bad(
        "a PIN of p11kit-remote",
        b'[token]\nkind = "p11kit-remote"\npin_env = "P"',
        ("token.pin_env", '"module"', "p11kit-remote"),
    ),
    Bad("a provision for p11kit-proxy", PROXY + b"provision = true", ("token.provision", "p11kit-proxy")),
    Bad(
        "a broker for httpd",
        HTTPD + b'[context]\npolicy = "broker"',
        ("context.policy", "found and reported", "p11kit-remote", "server lab"),
    ),
    Bad(
        "reset_on_fork of a module for httpd",
        MODULE + b'reset_on_fork = true\nkey_label = "k"\npin_env = "P"\n' + HTTPD,
        ("token.reset_on_fork", "softhsm", "over it", "module"),
    ),
)
