"""Which proxy, if any, the way to an address goes through. Pure.

As curl and Python's requests do it: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY of the
environment, in either case of letters; the option `network.proxy` stands above all of them.
"""

import base64
import ipaddress
import urllib.parse
from typing import Mapping, NamedTuple, Optional

from ..runtime.messages import Told

NONE = "none"  # of the option: no proxy, whatever the environment says
DEFAULT_PORT = 8080  # where the address names none; of squid's 3128 nobody relies on the default


class ProxyUnusable(Told):
    pass


class Proxy(NamedTuple):
    host: str
    port: int
    user: str = ""
    password: str = ""

    @property
    def shown(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def authorization(self) -> str:
        """The value of Proxy-Authorization (RFC 7617); empty where no user is given."""
        if not self.user:
            return ""
        pair = f"{self.user}:{self.password}".encode("utf-8")
        return "Basic " + base64.b64encode(pair).decode("ascii")


def read_proxy(text: str) -> Proxy:
    """`http://[user:password@]host[:port]`; the environment often leaves the scheme out.

    >>> read_proxy("http://me:p%40ss@proxy.school:3128").shown
    'proxy.school:3128'
    >>> read_proxy("http://me:p%40ss@proxy.school:3128").password
    'p@ss'
    """
    text = text.strip()
    try:
        parts = urllib.parse.urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname or "", parts.port or DEFAULT_PORT
    except ValueError:
        host, port, parts = "", 0, urllib.parse.SplitResult("", "", "", "", "")
    if parts.scheme != "http" or not host:
        raise ProxyUnusable(
            "The proxy's address cannot be used: it must be http://host:port (network.proxy, "
            "or HTTPS_PROXY and HTTP_PROXY of Moonraker's environment)."
        )
    user, password = (urllib.parse.unquote(part or "") for part in (parts.username, parts.password))
    return Proxy(host, port, user, password)


def proxy_for(
    scheme: str, host: str, port: int, option: str, environment: Mapping[str, str]
) -> Optional[Proxy]:
    """The proxy for one origin, or None; raises `ProxyUnusable`.

    >>> env = {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "localhost,.school,10.0.0.0/8"}
    >>> proxy_for("https", "hub.example", 443, "", env).shown
    'proxy:3128'
    >>> [proxy_for("https", host, 443, "", env) for host in ("a.school", "10.1.2.3")]
    [None, None]
    """
    if option:
        return None if option.lower() == NONE else read_proxy(option)
    text = _lookup(environment, f"{scheme}_proxy") or _lookup(environment, "all_proxy")
    if not text or bypassed(host, port, _lookup(environment, "no_proxy")):
        return None
    return read_proxy(text)


def bypassed(host: str, port: int, no_proxy: str) -> bool:
    """Whether NO_PROXY names `host`: itself, a domain that it is in, a network, or `*`.

    >>> bypassed("hub.lab", 8443, "hub.lab:8443"), bypassed("hub.lab", 443, "hub.lab:8443")
    (True, False)
    """
    host = host.lower().rstrip(".")
    for text in no_proxy.lower().replace(",", " ").split():
        name, colon, number = text.rpartition(":")
        if colon and number.isdigit() and ":" not in name:
            if int(number) != port:
                continue
        else:
            name = text
        domain = name.lstrip("*").lstrip(".")
        if name == "*" or (domain and (host == domain or host.endswith(f".{domain}"))):
            return True
        if _is_within(host, name):
            return True
    return False


def _is_within(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _lookup(environment: Mapping[str, str], name: str) -> str:
    return (environment.get(name) or environment.get(name.upper()) or "").strip()
