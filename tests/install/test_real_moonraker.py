"""install.sh against real Moonrakers, from the oldest that is supported to the newest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.rig.moonraker import MoonrakerRig

from .machine import files, git

pytestmark = [pytest.mark.stack, pytest.mark.versions]

HUB = {"server_url": "http://127.0.0.1:9/api.php", "printer_token": "T1"}


def components(moonraker: MoonrakerRig) -> list[str]:
    return list(moonraker.get("/server/info")["components"])


def test_install_and_uninstall_beside_a_running_moonraker(
    moonraker_python: str, folder: Path
) -> None:
    """The whole way of a user: a git checkout that runs, install, restart, uninstall, restart."""
    with MoonrakerRig(folder / "data", python=moonraker_python, plugin=False) as moonraker:
        checkout = moonraker.source
        (checkout / ".gitignore").write_text("__pycache__/\n")
        git(checkout, "init", "-q")
        git(checkout, "add", "-A")
        git(checkout, "commit", "-q", "-m", "Moonraker")
        conf = moonraker.config_file.read_bytes()
        tree = {k: v for k, v in files(checkout).items() if "__pycache__" not in k}
        assert "tecmedhub" not in components(moonraker)

        assert "the plugin is loaded" in moonraker.install("--restart")
        assert "tecmedhub" in components(moonraker)
        assert git(checkout, "status", "--porcelain") == ""
        warnings = moonraker.wait(moonraker.warnings, 10, "a warning that the hub is not set up")
        assert all("server_url" in warning for warning in warnings)

        assert "the plugin is absent" in moonraker.install("--uninstall", "--restart")
        assert "tecmedhub" not in components(moonraker)
        assert moonraker.warnings() == []
        assert moonraker.config_file.read_bytes() == conf
        assert {k: v for k, v in files(checkout).items() if "__pycache__" not in k} == tree
        assert git(checkout, "status", "--porcelain", "--ignored=no") == ""


def test_the_update_manager_takes_its_section_without_a_word(
    moonraker_python: str, folder: Path
) -> None:
    """Every option is known to this Moonraker, and the plugin's checkout is valid to it."""
    origin, clone = folder / "origin.git", folder / "tecmedhub"
    root = MoonrakerRig(folder / "unused").repository
    git(folder, "init", "-q", "--bare", "-b", "main", str(origin))
    git(folder, "init", "-q", "-b", "main", str(clone))
    for name in git(root, "ls-files", "components", "install.sh", ".gitignore").splitlines():
        target = clone / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((root / name).read_bytes())
        target.chmod((root / name).stat().st_mode)
    git(clone, "add", "-A")
    git(clone, "commit", "-q", "-m", "The plugin")
    git(clone, "tag", "v1.2.3")
    git(clone, "remote", "add", "origin", str(origin))
    git(clone, "push", "-q", "--tags", "-u", "origin", "main")

    moonraker = MoonrakerRig(
        folder / "data",
        python=moonraker_python,
        tecmedhub=HUB,
        sections="[update_manager]\nenable_system_updates: False",
        updates=True,
        repository=clone,
    )
    with moonraker:

        def checked() -> dict[str, Any] | None:
            status = moonraker.get("/machine/update/status")
            plugin: dict[str, Any] = status["version_info"].get("tecmedhub", {})
            return plugin if plugin.get("remote_hash", "?") != "?" and not status["busy"] else None

        plugin = moonraker.wait(checked, 60, "the update manager to look at the plugin")
        plugin = moonraker.wait(lambda: (checked() or {}).get("is_valid") and checked(), 30)
        assert plugin["warnings"] == []
        assert plugin["anomalies"] == []
        assert plugin["version"].startswith("v1.2.3")
        assert plugin["pristine"] and not plugin["is_dirty"]
        section = moonraker.get("/server/config")["config"]["update_manager tecmedhub"]
        written = [
            line.split(":")[0]
            for line in moonraker.config_file.read_text()
            .split("[update_manager tecmedhub]")[1]
            .splitlines()
            if ":" in line
        ]
        assert set(written) <= set(section)  # none is left unparsed
        assert not [text for text in moonraker.warnings() if "update_manager" in text]
