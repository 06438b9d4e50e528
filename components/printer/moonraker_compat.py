"""What Moonraker's versions and forks do differently, told by what they have and not by their
numbers: a fork's number says little, and a tree without tags has none.

Each shim names the last version that needs it; with that version it can go. Everything else of
Moonraker is used as it is at v0.8.0, the floor.
"""

from __future__ import annotations

import inspect
import logging
import sys
from typing import Any, Callable, Dict, List, Mapping, Optional

from ..runtime.loose import as_dict
from ..runtime.messages import say

OLDEST = "0.8.0"

Objects = Mapping[str, Mapping[str, Any]]

# What the plugin cannot do without: component → the names it is asked for. All there at v0.8.0.
_NEEDED: Dict[str, List[str]] = {
    "file_manager": ["get_directory", "get_file_metadata"],
    "http_client": ["client"],
    "internal_transport": ["call_method"],
    "job_queue": ["queue_job"],
    "klippy_apis": ["run_gcode", "get_object_list", "query_objects"],
    "klippy_connection": ["state", "state_message"],
    "webcam": ["get_webcams"],
}


def lacking(server: Any) -> List[str]:
    """What this Moonraker has not, of that which the plugin cannot do without."""
    found = []
    for name, attributes in _NEEDED.items():
        component = server.lookup_component(name, None)
        if component is None:
            found.append(name)
            continue
        found += [f"{name}.{one}" for one in attributes if not hasattr(component, one)]
    if not hasattr(server, "remove_warning"):
        found.append("remove_warning")
    return found


def add_warning(
    server: Any, text: str, warn_id: str, *, log: bool = True, error: Optional[Exception] = None
) -> None:
    """A warning for Mainsail and Fluidd. Up to 0.9.3 there is no exc_info, before 0.8.0 no id."""
    add = server.add_warning
    options = {"warn_id": warn_id, "log": log, "exc_info": error}
    known = _understood(add, options)
    if error is not None and log and "exc_info" not in known:
        logging.error("%s", text, exc_info=error)
    add(text, **known)


def register_endpoint(
    server: Any, path: str, methods: List[str], handler: Callable[..., Any], **options: Any
) -> None:
    """As `server.register_endpoint`. At 0.8.0 it knows neither content_type (Tornado then says
    HTML, which our page is) nor auth_required (the page then asks for a sign-in where logins are
    forced).
    """
    register = server.register_endpoint
    register(path, methods, handler, **_understood(register, options))


def _understood(function: Callable[..., Any], options: Mapping[str, Any]) -> Dict[str, Any]:
    """Those of the options that it has a parameter for."""
    known = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        return dict(options)
    return {name: value for name, value in options.items() if name in known}


async def subscribe(
    server: Any, wanted: Mapping[str, Optional[List[str]]], subscriber: Any
) -> Dict[str, Any]:
    """Subscribe at Klippy; its whole status of what was asked for. Raises `server.error`.

    Before 0.8.0-216 `klippy_apis` cannot do it for somebody else, and a request of ours is put to
    the connection, as a websocket's is.
    """
    apis = server.lookup_component("klippy_apis")
    if hasattr(apis, "subscribe_from_transport"):
        return as_dict(await apis.subscribe_from_transport(wanted, subscriber))
    make = _of_moonraker(server, "WebRequest")
    if make is None:
        raise server.error(say("this Moonraker knows no way to subscribe"))
    request = make("objects/subscribe", {"objects": dict(wanted)}, conn=subscriber)
    answer = await server.lookup_component("klippy_connection").request(request)
    return as_dict(as_dict(answer).get("status"))


def make_subscriber(server: Any, send_status: Callable[[Objects, float], None]) -> Any:
    """One to whom Moonraker's `klippy_connection` sends diffs, as to `mqtt` and `simplyprint`.

    It is an `APITransport` (common.py; before 0.8.0-216 a `Subscribable`) with all that this
    Moonraker's has, since forks ask one for more than `send_status`: Snapmaker's for its
    transport_type. A callback of `klippy_apis.subscribe_objects` would be run in a task of its own
    for each diff, with whatever any component subscribed to.
    """
    base = _of_moonraker(server, "APITransport") or _of_moonraker(server, "Subscribable") or object
    kinds = _of_moonraker(server, "TransportType")
    body = {
        # What a class of Moonraker's lacks of the newest one's; None is "nobody in particular".
        "transport_type": getattr(kinds, "INTERNAL", None),
        "user_info": None,
        "ip_addr": None,
        "screen_rpc_request": lambda self, api_def, req_type, args: None,
    }
    missing = {name: value for name, value in body.items() if not hasattr(base, name)}
    told = staticmethod(send_status)
    return type("Subscriber", (base,), {**missing, "send_status": told})()


def _of_moonraker(server: Any, name: str) -> Any:
    """A class of this very Moonraker (which may be a copy beside others), or None: `common` holds
    it, before 0.8.0-216 `websockets`.
    """
    package = type(server).__module__.rpartition(".")[0]
    for module in ("common", "websockets"):
        found = getattr(sys.modules.get(f"{package}.{module}"), name, None)
        if found is not None:
            return found
    return None
