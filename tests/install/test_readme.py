"""From `git clone` to a printer that its hub knows, doing literally what the README says."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.rig.hub import PhpHub
from tests.rig.klippy import KlippyRig
from tests.rig.moonraker import MoonrakerRig

from .machine import ROOT, git

pytestmark = pytest.mark.stack

READMES = {
    "README.md": "<address of this repository>",
    "docs/es/README.md": "<dirección de este repositorio>",
}


def told(readme: str) -> tuple[list[str], list[str], str]:
    """What the README has one type in a shell, write into the file, and open in a browser."""
    text = (ROOT / readme).read_text(encoding="utf-8")
    typed = [line.strip() for line in text.splitlines() if re.match(r" {7}(git clone|~/)", line)]
    written = re.findall(r'^ {7}"(\w+)": ', text, re.MULTILINE)
    opened = re.search(r"http://<\w+>:7125(/\S+?)`", text)
    assert opened is not None
    return typed, written, opened.group(1)


def published(folder: Path) -> Path:
    """The repository as somebody would clone it: every file that git knows."""
    origin = folder / "origin"
    for name in git(ROOT, "ls-files", "-z").split("\0"):
        source = ROOT / name
        if name and source.is_file():
            target = origin / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    git(origin, "init", "-q", "-b", "main")
    git(origin, "add", "-A")
    git(origin, "commit", "-q", "-m", "TecMedHub")
    return origin


@pytest.mark.parametrize("readme", READMES)
def test_from_the_clone_to_a_configured_hub(readme: str, folder: Path) -> None:
    typed, written, panel = told(readme)
    assert [line.split()[0] for line in typed] == ["git", "~/tecmedhub/install.sh"]
    assert written == ["server_url", "printer_token"]
    home = folder / "pi"
    home.mkdir()
    (folder / "units").mkdir()
    usual = "[update_manager]\nenable_system_updates: False"  # images come with the section
    moonraker = MoonrakerRig(home / "printer_data", plugin=False, sections=usual)
    moonraker.source = home / "moonraker"
    moonraker.prepare()
    scripts = moonraker.source / "scripts"  # what the update manager expects of a checkout
    scripts.mkdir()
    (scripts / "moonraker-requirements.txt").write_text("tornado\n")
    (scripts / "moonraker-speedups.txt").write_text("msgspec\n")
    (scripts / "system-dependencies.json").write_text('{"debian": []}\n')
    git(moonraker.source, "init", "-q")
    (moonraker.source / ".gitignore").write_text("__pycache__/\n")
    git(moonraker.source, "add", "-A")
    git(moonraker.source, "commit", "-q", "-m", "Moonraker")
    values = {"printer_token": "TECMED_PRINTER_007"}
    with (
        PhpHub(folder / "hub") as hub,
        KlippyRig(home / "printer_data") as klippy,
        moonraker,
    ):
        values["server_url"] = hub.gen1_url
        for command in typed:
            line = command.replace(READMES[readme], shlex.quote(str(published_once(folder))))
            answer = "y\n" if readme == "README.md" else "s\n"
            print(at_a_terminal(line, home, folder / "units", answer * 5))
        file = moonraker.config_folder / "tecmedhub.json"
        moonraker.wait(file.exists, 30, "tecmedhub.json to be laid down")
        text = file.read_text(encoding="utf-8")
        for name in written:
            entry = f'"{name}": {json.dumps(values[name])}'
            text, count = re.subn(f'"_{name}": "[^"]*"', lambda _, entry=entry: entry, text)
            assert count == 1, f"no example of {name} to delete the _ from"
        moonraker.upload("tecmedhub.json", text, root="config")
        moonraker.wait(lambda: hub.status(values["printer_token"]), 30, "the hub to know it")
        klippy.wait_ready()
        assert moonraker.warnings() == []
        status, page, _ = moonraker.request("GET", panel)
        assert status == 200
        assert b"TecMedHub" in page
        assert git(moonraker.source, "status", "--porcelain") == ""


def published_once(folder: Path) -> Path:
    return folder / "origin" if (folder / "origin").exists() else published(folder)


def at_a_terminal(line: str, home: Path, units: Path, answers: str) -> str:
    dropped = re.compile("SUDO_|MOONRAKER_|PYTHON|GIT_|XDG_|VIRTUAL_ENV", re.IGNORECASE)
    kept = {name: value for name, value in os.environ.items() if not dropped.match(name)}
    done = subprocess.run(
        ["script", "-qec", f"bash -c {shlex.quote(line)}", "/dev/null"],
        check=False,
        env={**kept, "HOME": str(home), "SYSTEMD_UNIT_PATH": str(units)},
        cwd=home,
        input=answers,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
