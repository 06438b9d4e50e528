"""TLS certificates for 127.0.0.1, good and bad, made by the openssl command on the spot."""

from __future__ import annotations

import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

#: good: signed by our own authority; self_signed: by itself; wrong_name: for another host;
#: expired: five years ago. All but self_signed verify against `Certificate.authority` else.
KINDS = ("good", "self_signed", "wrong_name", "expired")

_CONFIG = """
[req]
distinguished_name = name
[name]
[ca]
default_ca = authority
[authority]
database = index.txt
new_certs_dir = .
default_md = sha256
policy = policy
rand_serial = yes
[policy]
commonName = supplied
[authority_extensions]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[server_extensions]
basicConstraints = CA:FALSE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""
_NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-config", "cnf"]


@dataclass(frozen=True)
class Certificate:
    chain: Path  # the server's certificate, PEM
    key: Path
    authority: Path  # what a client must trust for a good one


def make_certificate(folder: Path, kind: str) -> Certificate:
    """Make one of KINDS in an empty folder."""
    if kind not in KINDS:
        raise ValueError(f"no such kind of certificate: {kind}")
    names = "DNS:example.org" if kind == "wrong_name" else "IP:127.0.0.1,DNS:localhost"
    (folder / "cnf").write_text(_CONFIG.format(names=names))
    (folder / "index.txt").write_text("")
    own = kind == "self_signed"
    extensions = "server_extensions" if own else "authority_extensions"
    # A name of its own: a client that trusts several finds the right one by it.
    name = f"/CN=Test authority {uuid.uuid4().hex[:8]}"
    root = ["-x509", "-days", "30", "-extensions", extensions, "-subj", name]
    _openssl(folder, "req", *_NEW_KEY, *root, "-keyout", "ca.key", "-out", "ca.pem")
    if own:
        return Certificate(folder / "ca.pem", folder / "ca.key", folder / "ca.pem")
    subject = ["-subj", "/CN=localhost"]
    _openssl(folder, "req", *_NEW_KEY, *subject, "-keyout", "server.key", "-out", "server.csr")
    period = ["-days", "30"]
    if kind == "expired":
        period = ["-startdate", "20200101000000Z", "-enddate", "20210101000000Z"]
    signing = ["-config", "cnf", "-batch", "-cert", "ca.pem", "-keyfile", "ca.key", *period]
    extending = ["-extensions", "server_extensions", "-notext"]
    _openssl(folder, "ca", *signing, *extending, "-in", "server.csr", "-out", "server.pem")
    return Certificate(folder / "server.pem", folder / "server.key", folder / "ca.pem")


def _openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        ["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]} failed: {done.stderr.strip()}")
