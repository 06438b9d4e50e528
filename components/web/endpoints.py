"""`/server/tecmedhub/…` over HTTP and JSON-RPC, what macros can call, and one wrapper around all
of it.

What cannot be done is answered as `{"ok": false, "message": …}` with status 200: Moonraker would
put the message of an error into the HTTP reason phrase, where newer Tornados replace everything
beyond plain ASCII by "Unknown".
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Dict, Sequence

from ..printer import moonraker_compat
from ..runtime.loose import as_text
from ..runtime.messages import in_language, say
from .doctor.doctor import Doctor
from .notifications import Notifier
from .page import Page
from .pages.base import Args, Macro, Pages, Refused, Request, Row
from .pages.help import HelpPages
from .plain import plain, with_spanish

if TYPE_CHECKING:
    from ..runtime.clock import Clock
    from ..runtime.notices import Notices
    from ..runtime.redaction import Redactor
    from ..runtime.supervisor import Supervisor
    from ..runtime.worker import Worker
    from .bundle import Bundle

PREFIX = "/server/tecmedhub/"


class Endpoints:
    """Puts together what the rooms' pages have: endpoints, macros, overview, status, checks."""

    def __init__(
        self,
        server: Any,
        version: str,
        pages: Sequence[Pages],
        clock: Clock,
        worker: Worker,
        supervisor: Supervisor,
        notices: Notices,
        redactor: Redactor,
    ) -> None:
        self._server = server
        self._version = version
        self._rooms = pages
        self._clock = clock
        self._supervisor = supervisor
        self._notices = notices
        self._redactor = redactor
        self._notifier = Notifier(server, clock, redactor, self.overview)
        self._doctor = Doctor(
            clock, notices, lambda: [check for room in pages for check in room.checks()]
        )
        status = Row("status", ["GET"], self._status, bundled=True)
        bundled = [status, *(row for room in pages for row in room.rows() if row.bundled)]

        def bundle() -> Bundle:
            from .bundle import Bundle  # noqa: PLC0415  (read already, in a thread)

            return Bundle(server, version, self._doctor, bundled, clock, worker, notices, redactor)

        self._pages = (*pages, HelpPages(self._doctor, bundle, worker, notices), Page(worker))
        self.table = (status, *(row for room in self._pages for row in room.rows()))

    # Life cycle

    def register(self) -> None:
        """Everything that Moonraker wants to hear of in the component's constructor."""
        for row in self.table:
            options: Dict[str, Any] = {}
            if row.content_type:
                options = {
                    "transports": ["http"],
                    "wrap_result": False,
                    "content_type": row.content_type,
                    "auth_required": not row.open,
                }
            moonraker_compat.register_endpoint(
                self._server, PREFIX + row.name, row.methods, self._guarded(row), **options
            )
        self._notifier.register()
        for room in self._pages:
            for name, macro in room.macros().items():
                self._server.register_remote_method(name, self._as_macro(name, macro))

    def start(self) -> None:
        for room in self._pages:
            room.follow(self._notifier)
        self._supervisor.keep("notifications", self._notifier.run)

    async def stop(self) -> None:
        """The loops end with the supervisor; an examination under way is given up."""
        self._doctor.close()

    # What all rooms tell together

    def overview(self) -> Args:
        """All that changes while one watches, in some two kilobytes."""
        told: Args = {"version": self._version, "time": self._clock.time()}
        for room in self._rooms:
            told.update(with_spanish(room.overview()))
        return dict(told, revisions=dict(self._notifier.revisions))

    async def _status(self, request: Request) -> Args:
        told = self.overview()
        for room in self._rooms:
            told.update(room.status())
        return told

    # One request

    def _guarded(self, row: Row) -> Callable[[Any], Awaitable[Any]]:
        async def handle(web_request: Any) -> Any:
            request = Request(
                web_request.get_action(), dict(web_request.get_args()), asked_by(web_request)
            )
            try:
                result = await row.handler(request)
            except asyncio.CancelledError:
                raise
            except Refused as refusal:
                result = {"ok": False, "message": refusal.args[0]}
            except Exception as error:
                self._notices.log_fault(
                    f"endpoint {row.name}",
                    "The endpoint {path} failed",
                    error,
                    path=PREFIX + row.name,
                )
                fault = say(
                    "This is a fault of the plugin ({error}); tecmedhub.log has it.",
                    error=type(error).__name__,
                )
                result = {"ok": False, "message": fault}
            if isinstance(result, bytes):
                return result
            known = self._redactor.known
            language = as_text(request.args.get("lang")).lower()[:2] or self._notices.language
            return plain(result, lambda text: known(in_language(text, language)))

        return handle

    def _as_macro(self, name: str, macro: Macro) -> Callable[..., Awaitable[None]]:
        """`{action_call_remote_method("tecmedhub_bed_clear")}` in printer.cfg. Klippy does not wait
        for an answer; what there is to say goes to the console.
        """

        async def call(**params: Any) -> None:
            try:
                said = await macro(params)
            except asyncio.CancelledError:
                raise
            except Refused as refusal:
                said = refusal.args[0]
            except Exception as error:
                said = say(
                    "{name} failed: {error}; see tecmedhub.log.",
                    name=name,
                    error=type(error).__name__,
                )
                self._notices.log_fault(
                    f"remote method {name}", "The remote method {name} failed", error, name=name
                )
            if said:
                self._notices.console(said)

        return call


def asked_by(web_request: Any) -> str:
    """The name of Moonraker's user, or the address of a trusted client."""
    user = web_request.get_current_user()
    name = as_text(getattr(user, "username", ""))
    if name and not name.startswith("_"):
        return name
    address = getattr(web_request, "ip_addr", None)
    if address is None:
        return say("the web interface")
    return say("the web interface at {address}", address=address)
