"""Which proxy stands on the way."""

from __future__ import annotations

import pytest

from components.net.proxy import ProxyUnusable, bypassed, proxy_for, read_proxy

ENVIRONMENT = {"HTTPS_PROXY": "http://tls:3128", "http_proxy": "plain:8080", "NO_PROXY": "lab"}


@pytest.mark.parametrize(
    ("scheme", "host", "option", "found"),
    [
        ("https", "hub.example", "", "tls:3128"),
        ("http", "hub.example", "", "plain:8080"),
        ("https", "hub.lab", "", None),
        ("https", "lab", "", None),
        ("https", "collab", "", "tls:3128"),
        ("https", "hub.lab", "http://own:1", "own:1"),
        ("https", "hub.example", "none", None),
    ],
)
def test_the_option_stands_above_the_environment(
    scheme: str, host: str, option: str, found: str | None
) -> None:
    proxy = proxy_for(scheme, host, 443, option, ENVIRONMENT)
    assert (proxy.shown if proxy else None) == found


@pytest.mark.parametrize(
    "text", ["socks5://p:1080", "https://p:443", "http://", "http://p:x", "[::"]
)
def test_what_is_no_http_proxy_is_refused_in_words(text: str) -> None:
    with pytest.raises(ProxyUnusable, match="http://host:port"):
        read_proxy(text)


def test_user_and_password_are_decoded() -> None:
    proxy = read_proxy("http://Lab%20A:p%3A%40s@[::1]:3128")
    assert (proxy.host, proxy.port, proxy.user, proxy.password) == ("::1", 3128, "Lab A", "p:@s")
    assert proxy.authorization == "Basic TGFiIEE6cDpAcw=="


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "found"),
    [
        ("*", "anything", 443, True),
        ("", "hub", 443, False),
        (" .example.org , x", "a.example.org", 443, True),
        ("*.example.org", "a.example.org", 443, True),
        ("example.org", "badexample.org", 443, False),
        ("hub:8443", "hub", 443, False),
        ("hub:8443", "hub", 8443, True),
        ("192.168.0.0/16", "192.168.4.5", 80, True),
        ("192.168.0.0/16", "10.0.0.1", 80, False),
        ("::1", "::1", 80, True),
        ("fe80::/10,nonsense/99", "fe80::1", 80, True),
        (",, ,", "hub", 80, False),
        (".", "hub", 80, False),
    ],
)
def test_no_proxy_as_everybody_reads_it(no_proxy: str, host: str, port: int, found: bool) -> None:
    assert bypassed(host, port, no_proxy) is found
