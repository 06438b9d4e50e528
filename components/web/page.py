"""The panel as one document: markup, style and scripts put together once, with a policy that lets
nothing else run.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Sequence, Tuple

from .pages.base import Pages, Request, Row

if TYPE_CHECKING:
    from ..runtime.worker import Worker

HTML = "text/html; charset=UTF-8"
PATH = "/server/tecmedhub/panel"
FOLDER = Path(__file__).parent / "panel"
STYLES = ("panel.css",)
SCRIPTS = (
    "texts.js",
    "dom.js",
    "moonraker.js",
    "charts.js",
    "show.js",
    "settings.js",
    "trial.js",
    "panel.js",
)
POLICY = (
    "default-src 'none'; script-src {scripts}; style-src {styles}; img-src 'self' blob: data:; "
    "media-src 'self'; "
    "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'"
)


def panel_address(server: Any) -> str:
    """Where the panel is, for people in the same network: by the address that Moonraker knows of
    the computer, since few networks know its name; by the name until then. Under the `route_prefix`
    of its `[server]` section, if there is one.
    """
    info = server.get_host_info()
    host = str(info.get("address") or "")
    if host in ("", "0.0.0.0", "::", "all"):  # noqa: S104 - it listens everywhere
        machine = server.lookup_component("machine", None)
        host = str(getattr(machine, "public_ip", "") or info.get("hostname") or "localhost")
    host = f"[{host}]" if ":" in host else host
    prefix = getattr(server.lookup_component("application", None), "route_prefix", "")
    return f"http://{host}:{info.get('port') or 7125}{prefix}{PATH}"


class Page(Pages):
    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._made: Optional[bytes] = None

    def rows(self) -> Sequence[Row]:
        return [Row(name, ["GET"], self._html, HTML, open=True) for name in ("panel", "")]

    async def _html(self, request: Request) -> bytes:
        """The document, read from disk the first time it is asked for."""
        if self._made is None:
            self._made = await self._worker.run(assemble)
        return self._made


def assemble() -> bytes:
    """Blocking. The policy names each block by its hash (CSP level 2), so nothing injected could
    run.
    """
    style, styles = _block(STYLES)
    script, scripts = _block(SCRIPTS)
    policy = POLICY.format(scripts=scripts, styles=styles)
    page = (FOLDER / "panel.html").read_text(encoding="utf-8")
    for mark, content in (("/*STYLE*/", style), ("/*SCRIPT*/", script), ("<!--POLICY-->", policy)):
        page = page.replace(mark, content)
    return page.encode("utf-8")


def _block(names: Tuple[str, ...]) -> Tuple[str, str]:
    text = "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in names)
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return text, f"'sha256-{digest}'"
