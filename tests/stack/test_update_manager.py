"""Moonraker's own update manager on the plugin: an update, a hard recovery, two instances of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.install.machine import files, git
from tests.rig.hub import PhpHub
from tests.rig.klippy import ROOT
from tests.rig.moonraker import MoonrakerRig
from tests.rig.stack import QUICK

pytestmark = pytest.mark.stack

SHIPPED = ("components", "install.sh", ".gitignore", "moonraker.conf.example")
# No system packages: apt is none of this test's business.
QUIET = "[update_manager]\nenable_system_updates: False"
OVERRIDE = '{\n  // mine\n  "printer_data": {"location": "Lab 7"},\n}\n'


class Plugin:
    """A published repository (`origin`), its author's checkout, and the user's (`repository`)."""

    def __init__(self, folder: Path) -> None:
        self.origin = folder / "tecmedhub.git"
        self.repository = folder / "tecmedhub"
        self._author = folder / "author"
        git(folder, "init", "-q", "--bare", "-b", "main", str(self.origin))
        # As GitHub does; a hard recovery asks for a clone without old contents.
        git(self.origin, "config", "uploadpack.allowFilter", "true")
        git(folder, "init", "-q", "-b", "main", str(self._author))
        git(self._author, "remote", "add", "origin", self.url)
        listed = git(ROOT, "ls-files", "-co", "--exclude-standard", *SHIPPED).splitlines()
        for name in filter(lambda name: (ROOT / name).is_file(), listed):
            target = self._author / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
            target.chmod((ROOT / name).stat().st_mode)
        self.publish("5.0.0")
        git(folder, "clone", "-q", self.url, str(self.repository))

    @property
    def url(self) -> str:
        return f"file://{self.origin}"

    def publish(self, version: str) -> None:
        main = self._author / "components" / "tecmedhub.py"
        text = re.sub(r'(?m)^VERSION = ".*"$', f'VERSION = "{version}"', main.read_text())
        main.write_text(text)
        git(self._author, "add", "-A")
        git(self._author, "commit", "-q", "--allow-empty", "-m", f"Version {version}")
        git(self._author, "tag", f"v{version}")
        git(self._author, "push", "-q", "--tags", "-u", "origin", "main")

    def head(self) -> str:
        return git(self.repository, "describe", "--tags").strip()

    def strays(self) -> str:
        return git(self.repository, "status", "--porcelain", "--untracked-files=all")


@pytest.fixture
def plugin(folder: Path) -> Plugin:
    return Plugin(folder)


@pytest.fixture
def hub(folder: Path) -> Iterator[PhpHub]:
    with PhpHub(folder / "hub") as running:
        yield running


class Services:
    """`sudo` and `systemctl` in Moonraker's PATH; a restart asked for is written down only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "bin"
        self._asked = folder / "asked"
        self.folder.mkdir()
        self._asked.touch()
        self._script("sudo", 'exec "$@"')
        self._script(
            "systemctl", f'case $1 in restart) echo "$2" >>"{self._asked}" ;; *) exit 1 ;; esac'
        )

    def _script(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def restarts(self) -> list[str]:
        return self._asked.read_text().split()


def instance(
    folder: Path,
    plugin: Plugin,
    hub: PhpHub,
    token: str,
    *,
    name: str = "data",
    environment: dict[str, str] | None = None,
    **more: Any,
) -> MoonrakerRig:
    """A Moonraker whose update manager knows the plugin, on a data path of its own."""
    options = {"server_url": hub.gen1_url, "printer_token": token, "printer_name": token, **QUICK}
    environment = {"PIP_NO_INDEX": "1", **(environment or {})}  # nothing is asked of the net
    return MoonrakerRig(
        folder / name,
        tecmedhub=options,
        sections=QUIET,
        updates=True,
        repository=plugin.repository,
        environment=environment,
        **more,
    )


def version_at_hub(hub: PhpHub, token: str) -> str:
    status = hub.status(token)
    return "" if status is None else str(status["client_version"])


def checked(moonraker: MoonrakerRig) -> dict[str, Any]:
    """What the update manager says of the plugin once it has looked at it."""

    def found() -> dict[str, Any] | None:
        status = moonraker.get("/machine/update/status")
        said: dict[str, Any] = status["version_info"].get("tecmedhub", {})
        looked = said.get("is_valid") and said.get("remote_hash", "?") != "?"
        return said if looked and not status["busy"] else None

    return dict(moonraker.wait(found, 60, "the update manager to find the plugin valid"))


def assert_in_order(said: dict[str, Any]) -> None:
    assert said["warnings"] == [] and said["anomalies"] == []
    assert said["pristine"] and not said["is_dirty"] and not said["corrupt"]


def tree_of(checkout: Path) -> dict[str, bytes | str]:
    return {name: data for name, data in files(checkout).items() if "__pycache__" not in name}


def restart_service(moonraker: MoonrakerRig) -> None:
    """What systemd does when it is asked to."""
    assert moonraker.sigterm() == 0
    moonraker.start()


@pytest.mark.versions
def test_an_update_arrives_and_a_hard_recovery_keeps_the_users_data(
    moonraker_python: str, folder: Path, plugin: Plugin, hub: PhpHub
) -> None:
    services = Services(folder)
    moonraker = instance(
        folder,
        plugin,
        hub,
        "T1",
        python=moonraker_python,
        environment={"PATH": f"{services.folder}:/usr/local/bin:/usr/bin:/bin"},
    )
    moonraker.config_folder.mkdir(parents=True)
    moonraker.write_config(moonraker.tecmedhub)
    conf = moonraker.config_file
    conf.write_text(conf.read_text().replace("provider: none", "provider: systemd_cli"))

    with moonraker:
        said = checked(moonraker)
        assert_in_order(said)
        assert said["full_version_string"].startswith("v5.0.0-0-")
        hub.wait_for(lambda: version_at_hub(hub, "T1") == "5.0.0", 20)
        assert plugin.strays() == ""

        # A release: seen, fetched, and Moonraker asks for its own restart.
        plugin.publish("5.0.1")
        moonraker.post("/machine/update/refresh", {"name": "tecmedhub"})
        said = checked(moonraker)
        assert_in_order(said)
        assert said["version"].startswith("v5.0.0")
        assert said["remote_version"].startswith("v5.0.1")
        with moonraker.websocket() as ws:
            assert ws.call("machine.update.client", {"name": "tecmedhub"}, 60) == "ok"
            ws.wait("notify_update_response", lambda params: params[0]["complete"], 10)
        assert plugin.head() == "v5.0.1"
        moonraker.wait(services.restarts, 10, "Moonraker to ask for a restart")
        assert services.restarts() == ["moonraker"]
        restart_service(moonraker)
        hub.wait_for(lambda: version_at_hub(hub, "T1") == "5.0.1", 20)
        assert moonraker.get("/server/tecmedhub/status")["version"] == "5.0.1"
        said = checked(moonraker)
        assert_in_order(said)
        assert said["version"] == said["remote_version"]
        assert said["version"].startswith("v5.0.1")
        assert plugin.strays() == ""

        # A hard recovery deletes the folder and clones it anew; what is the user's lies elsewhere.
        moonraker.upload("tecmedhub.json", OVERRIDE, root="config")
        hub.wait_for(lambda: (hub.status("T1") or {}).get("location") == "Lab 7", 10)
        command = hub.queue("T1", "cancel_download")
        before = hub.wait_for(lambda: hub.result("T1", command), 20)
        written = conf.read_bytes()
        inode = plugin.repository.stat().st_ino
        (plugin.repository / "components" / "tecmedhub.py").write_text("damaged\n")
        answer = {"name": "tecmedhub", "hard": True}
        assert moonraker.post("/machine/update/recover", answer, 60) == "ok"
        assert plugin.repository.stat().st_ino != inode
        assert plugin.head() == "v5.0.1" and plugin.strays() == ""
        moonraker.wait(lambda: len(services.restarts()) == 2, 10, "a restart to be asked for")
        asked = len(hub.requests())
        restart_service(moonraker)
        hub.wait_for(lambda: len(hub.requests()) > asked + 2, 20)
        assert moonraker.get("/server/info")["failed_components"] == []
        assert (moonraker.source / "moonraker/components/tecmedhub").is_dir()
        assert conf.read_bytes() == written
        assert (moonraker.config_folder / "tecmedhub.json").read_text() == OVERRIDE
        assert (hub.status("T1") or {})["location"] == "Lab 7"
        recent = moonraker.get("/server/tecmedhub/commands")["commands"]
        assert [(row["id"], row["status"]) for row in recent] == [(command, before.status)]
        assert_in_order(checked(moonraker))


def test_two_instances_share_the_plugin_and_uninstalling_leaves_nothing(
    folder: Path, plugin: Plugin, hub: PhpHub
) -> None:
    one = instance(folder, plugin, hub, "T1", name="one")
    two = instance(folder, plugin, hub, "T2", name="two")
    two.source = one.source
    rigs = (one, two)
    one.plugin = False  # its copy of Moonraker, untouched so far
    for rig in rigs:
        rig.prepare()
    tree, confs = tree_of(one.source), [rig.config_file.read_bytes() for rig in rigs]

    said = one.install("-d", str(two.data_path))
    assert said.count("Linked") == 1
    with one, two:
        for rig, token in ((one, "T1"), (two, "T2")):
            hub.wait_for(lambda token=token: hub.status(token), 20)
            assert hub.status(token)["name"] == token
            assert_in_order(checked(rig))
            assert rig.state_folder.is_dir()
        assert {request.token for request in hub.requests() if request.token} == {"T1", "T2"}
        # Each obeys its own commands.
        command = hub.queue("T2", "cancel_download")
        hub.wait_for(lambda: hub.result("T2", command), 20)
        assert one.get("/server/tecmedhub/commands")["commands"] == []

    one.install("-d", str(two.data_path), "--uninstall", "--purge")
    assert tree_of(one.source) == tree
    for rig, conf in zip(rigs, confs, strict=True):
        assert rig.config_file.read_bytes() == conf
        assert not rig.state_folder.exists()
    assert plugin.strays() == ""


@pytest.mark.versions
def test_a_recovered_moonraker_has_lost_the_link_and_install_makes_it_again(
    moonraker_python: str, folder: Path, plugin: Plugin, hub: PhpHub
) -> None:
    """A hard recovery of Moonraker clones it anew; what is in it of others is gone."""
    moonraker = instance(folder, plugin, hub, "T1", python=moonraker_python)
    with moonraker:
        hub.wait_for(lambda: hub.status("T1"), 20)
        conf = moonraker.config_file.read_bytes()
        moonraker.stop()
        (moonraker.source / "moonraker/components/tecmedhub").unlink()
        moonraker.start()
        assert moonraker.get("/server/info")["failed_components"] == ["tecmedhub"]
        assert any("tecmedhub" in text for text in moonraker.warnings())

        assert "Linked" in moonraker.install()
        assert moonraker.config_file.read_bytes() == conf
        restart_service(moonraker)
        asked = hub.count("T1")
        hub.wait_for(lambda: hub.count("T1") > asked, 20)
        assert moonraker.warnings() == []
