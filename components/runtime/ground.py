"""What the plugin stands on: time, chance, threads, disk and network, each handed in from above.

Everything in `components/` that is not a function of its arguments comes from here, so that a
simulation can put another ground under the same house (tests/simulation).
"""

import random
import sqlite3
from typing import Any, Callable, NamedTuple

from .clock import Clock
from .worker import Worker


def moonrakers_client(server: Any) -> Any:
    """The Tornado client that Moonraker's `http_client` component owns."""
    return server.lookup_component("http_client").client


class Ground(NamedTuple):
    clock: Clock
    rng: random.Random
    worker: Callable[[str], Worker]  # by name: something that runs blocking work
    connect: Callable[..., sqlite3.Connection]  # as `sqlite3.connect`
    # Of Moonraker's server: what exchanges with the hub go through. It has Tornado's
    # `fetch(HTTPRequest, raise_error=False) -> HTTPResponse`.
    http: Callable[[Any], Any]


def solid_ground() -> Ground:
    """The machine itself."""
    return Ground(Clock(), random.SystemRandom(), Worker, sqlite3.connect, moonrakers_client)
