"""Names and addresses of the lab's virtual hosts: all on this machine, in a domain that is nobody's (RFC 6761)."""

from __future__ import annotations

from lab.scenario import Tls

_ONLY_ADDRESS = "127.0.0.1"
_FIRST_BY_IP = 2  # 127.0.0.2, so that host 0 is not where everything else listens


def host_names(tls: Tls) -> tuple[str, ...]:
    """The name of each virtual host of the lab's server, which is its SNI name and in its certificate."""
    return tuple(f"host-{place}.lab.test" for place in range(tls.vhosts))


def host_addresses(tls: Tls) -> tuple[str, ...]:
    """The address of each virtual host: one of its own if hosts are chosen by IP and there are several of them."""
    if tls.vhost_by != "ip" or tls.vhosts == 1:
        return (_ONLY_ADDRESS,) * tls.vhosts
    return tuple(f"127.0.0.{_FIRST_BY_IP + place}" for place in range(tls.vhosts))
