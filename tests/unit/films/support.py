"""What the films' tests stand on: Moonraker as they know it, an ffmpeg that obeys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.films.filming import Filming, Means
from components.films.render import Film, Renderer
from components.films.timelapse import Tell, Timelapse
from tests.unit.cameras.support import Room


class FakeFiles:
    """Moonraker's file manager."""

    def __init__(self) -> None:
        self.roots: dict[str, str] = {}

    def get_directory(self, root: str = "gcodes") -> str:
        return self.roots.get(root, "")

    def register_directory(self, root: str, path: str, full_access: bool = False) -> bool:
        assert Path(path).is_dir() and full_access
        self.roots[root] = path
        return True


class FakeServer:
    """Moonraker's server, as far as the page needs it."""

    def __init__(self) -> None:
        self.components: dict[str, Any] = {}
        self.endpoints: dict[str, Any] = {}
        self.events: list[tuple[str, dict[str, Any]]] = []

    def lookup_component(self, name: str, default: Any) -> Any:
        return self.components.get(name, default)

    def register_component(self, name: str, component: Any) -> None:
        self.components[name] = component

    def register_endpoint(self, path: str, methods: list[str], callback: Any) -> None:
        self.endpoints[path] = callback

    def register_notification(self, event: str) -> None:
        pass

    def send_event(self, event: str, data: dict[str, Any]) -> None:
        self.events.append((event, data))


class FakeRenderer(Renderer):
    """ffmpeg that is done when the test says so."""

    def __init__(self, room: Room) -> None:
        super().__init__(room.worker)
        self._clock = room.clock
        self.films: list[Film] = []
        self.cancelled = 0
        self.missing = False
        self.trouble = ""
        self.seconds = 0.0

    async def ffmpeg(self) -> str | None:
        return None if self.missing else "ffmpeg"

    async def render(self, ffmpeg: str, film: Film) -> str:
        self.films.append(film)
        try:
            await self._clock.sleep(self.seconds) if self.seconds else None
        except BaseException:
            self.cancelled += 1
            raise
        if not self.trouble:
            film.output.write_bytes(b"mp4")
        return self.trouble


def timelapse_of(
    room: Room, path: Path, renderer: Renderer, yields: Callable[[], bool] = lambda: False
) -> Timelapse:
    """The timelapse of a room's cameras, with `path` for Moonraker's data."""

    def make(frames: Path, videos: Path, tell: Tell) -> Filming:
        return Filming(
            frames=frames,
            videos=videos,
            means=Means(room.live, room.board.notices, room.supervisor, room.clock, room.worker),
            printer=room.printer,  # type: ignore[arg-type]
            hub=room.hub,  # type: ignore[arg-type]
            cameras=room.cameras,
            yields=yields,
            tell=tell,
            renderer=renderer,
        )

    return Timelapse(
        data_path=path,
        cameras=room.cameras,
        notices=room.board.notices,
        supervisor=room.supervisor,
        worker=room.worker,
        make=make,
    )
