"""`/server/tecmedhub/…` over HTTP and JSON-RPC: a table of paths, and one wrapper around all
handlers.

What cannot be done is answered as `{"ok": false, "message": …}` with status 200: Moonraker would
put the message of an error into the HTTP reason phrase, where newer Tornados replace everything
beyond plain ASCII by "Unknown".
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Dict, List, NamedTuple, Union

from ..printer import moonraker_compat
from ..runtime.logs import LOG_FILE, logs_folder
from ..runtime.loose import as_bool, as_float, as_int, as_text
from ..runtime.messages import in_language, say
from .actions import Actions, Refused
from .bundle import Bundle, tail
from .doctor.on_call import DoctorOnCall
from .history import INTERVAL, History
from .notifications import Notifier
from .page import Page
from .plain import plain
from .remote import RemoteMethods
from .views import Views

if TYPE_CHECKING:
    from .rooms import Rooms

PREFIX = "/server/tecmedhub/"
HTML = "text/html; charset=UTF-8"
MAX_ROWS = 200  # of one answer with a list
FRESHEST = 1.0  # seconds: however many look, a camera is asked no more often

Args = Dict[str, Any]
Handler = Callable[["Request"], Awaitable[Any]]


class Request(NamedTuple):
    method: str  # GET or POST
    args: Args
    by: str  # who asks, for logs and the console


class Row(NamedTuple):
    """An endpoint; with more than one method, JSON-RPC names are `get_NAME` and `post_NAME`."""

    name: str
    methods: List[str]
    handler: Handler
    content_type: str = ""  # of an answer that is no JSON; HTTP only, no JSON-RPC
    open: bool = False  # also to clients that Moonraker does not know


class Endpoints:
    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._views = Views(rooms)
        self.history = History(
            rooms.clock, lambda: rooms.printer.snapshot, lambda: rooms.link.connected
        )
        self._actions = Actions(rooms)
        self._doctor = DoctorOnCall(rooms)
        self._notifier = Notifier(rooms, self._views)
        self._remote = RemoteMethods(rooms, self._actions, self._doctor)
        self._page = Page(rooms.worker)
        self._bundle = Bundle(
            rooms,
            self._doctor,
            {
                name: self._collector(handler)
                for name, handler in (
                    ("status", self._status),
                    ("config", self._config),
                    ("commands", self._commands),
                    ("events", self._events),
                    ("history", self._history_since),
                )
            },
        )
        self.table = (
            Row("status", ["GET"], self._status),
            Row("config", ["GET"], self._config),
            Row("settings", ["POST"], self._settings),
            Row("history", ["GET"], self._history_since),
            Row("doctor", ["GET"], self._examine),
            Row("commands", ["GET"], self._commands),
            Row("events", ["GET"], self._events),
            Row("test_connection", ["POST"], self._test_connection),
            Row("snapshot", ["GET", "POST"], self._snapshot),
            Row("image", ["GET"], self._image, "image/jpeg"),
            Row("timelapse_now", ["POST"], self._timelapse_now),
            Row("bed_clear", ["POST"], self._bed_clear),
            Row("remote_on", ["POST"], self._remote_on),
            Row("remote_off", ["POST"], self._remote_off),
            Row("cleanup", ["GET", "POST"], self._cleanup),
            Row("cancel_download", ["POST"], self._cancel_download),
            Row("log", ["GET"], self._log),
            Row("support", ["GET"], self._support, "application/zip"),
            *(Row(name, ["GET"], self._panel, HTML, True) for name in ("panel", "")),
        )

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
                self._rooms.server, PREFIX + row.name, row.methods, self._guarded(row), **options
            )
        self._notifier.register()
        self._remote.register()

    def start(self) -> None:
        rooms, on = self._rooms, self._notifier.on
        rooms.reporter.subscribe(self._views.status_sent)
        rooms.reporter.subscribe(self.history.exchange_ended)
        rooms.reporter.subscribe(on())
        rooms.link.subscribe(on("events"))
        rooms.notices.subscribe(on())
        rooms.printer.subscribe(on("events"))
        rooms.live.subscribe(on("settings"))
        rooms.commands.on_result(on("commands"))
        rooms.cameras.on_new(on("pictures"))
        rooms.timelapse.on_change(on("videos"))
        rooms.transfers.subscribe(self._notifier.download)
        rooms.supervisor.keep("history", self._sample)
        rooms.supervisor.keep("notifications", self._notifier.run)

    async def stop(self) -> None:
        """The loops end with the supervisor; an examination under way is given up."""
        self._doctor.close()

    async def _sample(self) -> None:
        while True:
            self.history.sample()
            self._notifier.changed()
            await self._rooms.clock.sleep(INTERVAL)

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
                self._rooms.notices.log_fault(
                    f"endpoint {row.name}",
                    say("The endpoint {path} failed", path=PREFIX + row.name),
                    error,
                )
                fault = say(
                    "This is a fault of the plugin ({error}); tecmedhub.log has it.",
                    error=type(error).__name__,
                )
                result = {"ok": False, "message": fault}
            if isinstance(result, bytes):
                return result
            known = self._rooms.redactor.known
            language = as_text(request.args.get("lang")).lower()[:2] or self._rooms.notices.language
            return plain(result, lambda text: known(in_language(text, language)))

        return handle

    # Looking

    async def _status(self, request: Request) -> Args:
        return self._views.status()

    async def _config(self, request: Request) -> Args:
        return self._rooms.override.describe()

    async def _settings(self, request: Request) -> Args:
        return await self._actions.settings(
            request.args.get("changes"), dry_run=as_bool(request.args.get("dry_run")), by=request.by
        )

    async def _history_since(self, request: Request) -> Args:
        return self.history.as_dict(as_float(request.args.get("since"), 0.0) or 0.0)

    async def _examine(self, request: Request) -> Args:
        language = as_text(request.args.get("lang")).lower()[:2]
        return (await self._doctor.examine()).as_dict(language)

    async def _commands(self, request: Request) -> Args:
        return {"commands": self._rooms.commands.recent(_limit(request.args))}

    async def _events(self, request: Request) -> Args:
        return {"events": await self._rooms.journal.recent(_limit(request.args))}

    async def _log(self, request: Request) -> Args:
        rooms = self._rooms
        path = logs_folder(rooms.server.get_app_args()) / LOG_FILE
        text = await rooms.worker.run(tail, path)
        return {"file": LOG_FILE, "lines": text.splitlines()[-_limit(request.args) :]}

    async def _support(self, request: Request) -> bytes:
        return await self._bundle.make()

    def _collector(self, handler: Handler) -> Callable[[], Awaitable[Any]]:
        return lambda: handler(Request("GET", {"limit": MAX_ROWS}, "the support bundle"))

    async def _panel(self, request: Request) -> Union[bytes, Args]:
        return await self._page.html()

    # Pictures

    async def _snapshot(self, request: Request) -> Args:
        if request.method == "POST":
            asked_at = self._rooms.clock.monotonic()
            message = await self._actions.snapshot()
            cameras = self._rooms.cameras
            shots = [cameras.picture(name) for name in cameras.names]
            good = bool(shots) and all(s is not None and s.taken_at >= asked_at for s in shots)
            return {"ok": good, "message": message, "cameras": cameras.overview()}
        return {"cameras": self._rooms.cameras.overview()}

    async def _image(self, request: Request) -> bytes:
        name = as_text(request.args.get("camera"))
        max_age = as_float(request.args.get("max_age"))
        cameras = self._rooms.cameras
        if max_age is None:
            shot = cameras.picture(name)
        else:
            shot = await cameras.view(name, max(max_age, FRESHEST))
        if shot is None:
            raise Refused(say("There is no picture of that camera yet."))
        jpeg: bytes = shot.jpeg
        return jpeg

    async def _timelapse_now(self, request: Request) -> Args:
        return _done(await self._actions.timelapse_now())

    # Doing

    async def _test_connection(self, request: Request) -> Args:
        return await self._actions.test_connection()

    async def _bed_clear(self, request: Request) -> Args:
        return _done(await self._actions.bed_clear(request.by))

    async def _remote_on(self, request: Request) -> Args:
        return _done(await self._actions.set_remote(True, request.by))

    async def _remote_off(self, request: Request) -> Args:
        return _done(await self._actions.set_remote(False, request.by))

    async def _cleanup(self, request: Request) -> Args:
        if request.method == "GET":
            return {"dry_run": True, "files": await self._actions.cleanup_plan()}
        if not as_bool(request.args.get("confirm")):
            raise Refused(
                say(
                    "Nothing was deleted: look at GET /server/tecmedhub/cleanup first, then post"
                    " confirm=true."
                )
            )
        return dict(_done(""), dry_run=False, files=await self._actions.cleanup())

    async def _cancel_download(self, request: Request) -> Args:
        return _done(await self._actions.cancel_download(as_text(request.args.get("file"))))


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


def _limit(args: Args) -> int:
    return min(max(as_int(args.get("limit"), 50) or 50, 1), MAX_ROWS)


def _done(message: str) -> Args:
    return {"ok": True, "message": message}
