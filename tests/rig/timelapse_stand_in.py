"""What moonraker-timelapse does with files, as a Moonraker component of the same name: it registers
the root `timelapse`, and after each print moves a video into it, over whatever has the name.

`Stack(…, sections="[timelapse]", neighbours={"timelapse": timelapse_stand_in.__file__})`
installs it. It names the video as the real one does by default, `timelapse_<file>_<date>.mp4`, and
for the tests also writes over every other video of that root that it is told to
(`overwrite: <glob>`).
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

NAME = "timelapse"
THEIRS = b"a video of moonraker-timelapse's\n"


class Timelapse:
    def __init__(self, config: Any) -> None:
        self.server = config.get_server()
        self.overwrite = config.get("overwrite", "")
        self.folder = Path(self.server.get_app_args()["data_path"]) / NAME
        self.folder.mkdir(exist_ok=True)
        files = self.server.lookup_component("file_manager")
        files.register_directory(NAME, str(self.folder), full_access=True)
        self.server.register_event_handler("job_state:state_changed", self._job)
        path = f"/machine/{NAME}/settings"
        self.server.register_endpoint(path, ["GET"], self._settings)

    async def _settings(self, _request: Any) -> dict[str, Any]:
        return {"enabled": True, "stand_in": True}

    async def _job(self, event: Any, _before: Any, after: dict[str, Any]) -> None:
        if str(event).lower() not in ("complete", "cancelled", "error"):
            return
        asyncio.get_event_loop().create_task(self._render(str(after.get("filename", ""))))

    async def _render(self, printed: str) -> None:
        await asyncio.sleep(1)  # as long as its ffmpeg takes
        stamp = time.strftime("%Y%m%d_%H%M")
        self._put(self.folder / f"timelapse_{Path(printed).name}_{stamp}.mp4")
        if self.overwrite:
            for _ in range(600):
                found = sorted(self.folder.glob(self.overwrite))
                if found:
                    self._put(found[0])
                    return
                await asyncio.sleep(0.1)

    def _put(self, path: Path) -> None:
        made = self.folder.parent / f".{path.name}.rendering"
        made.write_bytes(THEIRS)
        os.replace(made, path)


def load_component(config: Any) -> Timelapse:
    return Timelapse(config)
