"""HTTP Digest (RFC 7616), as cameras ask for it: the password itself never crosses the network.
Pure, but for the random `cnonce`.
"""

import hashlib
import re
import secrets
from typing import Dict, NamedTuple, Optional

MAX_CHALLENGE = 2000  # characters
_FIELD = re.compile(r'([a-zA-Z]+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))')
_HASHES = {"md5": "md5", "sha-256": "sha256"}


class Challenge(NamedTuple):
    """What a server wants to see answered."""

    realm: str
    nonce: str
    opaque: Optional[str] = None
    algorithm: str = "MD5"  # as the server wrote it
    qop: bool = False  # quality of protection "auth"

    def answer(self, method: str, target: str, user: str, password: str, cnonce: str = "") -> str:
        """The value of the header Authorization."""
        cnonce = cnonce or secrets.token_hex(8)
        name = self.algorithm.lower()
        session = name.endswith("-sess")
        digest = _HASHES[name[: -len("-sess")] if session else name]

        def h(text: str) -> str:
            return hashlib.new(digest, text.encode("utf-8")).hexdigest()

        secret = h(f"{user}:{self.realm}:{password}")
        if session:
            secret = h(f"{secret}:{self.nonce}:{cnonce}")
        asked = h(f"{method}:{target}")
        middle = f"{self.nonce}:00000001:{cnonce}:auth" if self.qop else self.nonce
        fields = [
            f'username="{_quoted(user)}"',
            f'realm="{_quoted(self.realm)}"',
            f'nonce="{_quoted(self.nonce)}"',
            f'uri="{target}"',
            f"algorithm={self.algorithm}",
            f'response="{h(f"{secret}:{middle}:{asked}")}"',
        ]
        if self.opaque is not None:
            fields.append(f'opaque="{_quoted(self.opaque)}"')
        if self.qop:
            fields += ["qop=auth", "nc=00000001", f'cnonce="{cnonce}"']
        return "Digest " + ", ".join(fields)


def read_challenge(header: str) -> Optional[Challenge]:
    """A `WWW-Authenticate` that offers Digest in a way we know; None of any other.

    >>> read_challenge('Digest realm="cam", nonce="1", qop="auth,auth-int"').qop
    True
    >>> read_challenge('Basic realm="cam"') is None
    True
    """
    scheme, _, rest = header[:MAX_CHALLENGE].strip().partition(" ")
    if scheme.lower() != "digest" or not rest.isprintable():
        return None
    fields: Dict[str, str] = {
        name.lower(): quoted or plain for name, quoted, plain in _FIELD.findall(rest)
    }
    algorithm = fields.get("algorithm", "MD5")
    name = algorithm.lower()
    if (name[: -len("-sess")] if name.endswith("-sess") else name) not in _HASHES:
        return None
    offered = [part.strip().lower() for part in fields.get("qop", "").split(",") if part.strip()]
    if "nonce" not in fields or (offered and "auth" not in offered):
        return None
    return Challenge(
        fields.get("realm", ""), fields["nonce"], fields.get("opaque"), algorithm, bool(offered)
    )


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
