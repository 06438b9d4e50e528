"""What a printer says to a deployed server, in one word each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.rig.deployed import DeployedServer

Serve = Callable[..., DeployedServer]


def update(server: DeployedServer, token: str = "T1", **fields: Any) -> dict[str, Any]:
    return server.update(token, **fields)


def poll(server: DeployedServer, token: str = "T1", **query: Any) -> list[dict[str, Any]]:
    return server.poll(token, **query)


def tell(server: DeployedServer, *results: dict[str, Any], token: str = "T1") -> dict[str, Any]:
    return server.tell(token, *results)
