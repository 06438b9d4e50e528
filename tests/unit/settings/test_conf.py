"""Reading moonraker.conf, through Moonraker's own ConfigHelper, template engine and secrets."""

import importlib
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from moonraker.confighelper import ConfigError, get_configuration

from components.settings.conf import ConfValues, read_conf
from components.settings.loader import merge
from components.settings.model import Origin, RemoteControl, Settings
from components.settings.options import OPTIONS

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "TECMED_s3cr3t/1"


class Server:
    """As much of Moonraker's server as a section of the configuration needs."""

    error = RuntimeError
    config_error = ConfigError

    def __init__(self, data_path: Path) -> None:
        self.data_path = data_path
        self.warnings: list[str] = []
        self.components: dict[str, Any] = {}

    def get_app_args(self) -> dict[str, Any]:
        path = str(self.data_path / "moonraker.conf")
        return {"data_path": str(self.data_path), "config_file": path, "is_backup_config": False}

    def load_component(self, config: Any, name: str) -> Any:
        if name not in self.components:
            module = importlib.import_module(f"moonraker.components.{name}")
            self.components[name] = module.load_component(config.getsection(name))
        return self.components[name]

    def lookup_component(self, name: str) -> Any:
        return self.components[name]

    def is_configured(self) -> bool:
        return False

    def add_warning(self, text: str, *args: Any, **kwargs: Any) -> None:
        self.warnings.append(text)


class Section:
    """`[tecmedhub]` as written, read by us; afterwards Moonraker looks for what was left unread."""

    def __init__(self, folder: Path, text: str, secrets: str = "") -> None:
        if secrets:
            (folder / "moonraker.secrets").write_text(secrets)
        (folder / "moonraker.conf").write_text(f"[server]\n\n[tecmedhub]\n{text}\n")
        self.server = Server(folder)
        config = get_configuration(self.server, self.server.get_app_args())
        self.conf: ConfValues = read_conf(config["tecmedhub"])
        config["server"]
        config.validate_config()
        self.loaded = merge(self.conf)
        self.warned = [p.text for p in self.loaded.problems if not p.explained]
        self.explained = [p.text for p in self.loaded.problems if p.explained]


@pytest.mark.parametrize(
    "secrets",
    [json.dumps({"tecmedhub": {"token": TOKEN}}), f"[tecmedhub]\ntoken: {TOKEN}\n"],
    ids=["json", "ini"],
)
@pytest.mark.parametrize(
    "written", ["{secrets.tecmedhub.token}", "{ secrets['tecmedhub']['token'] }"]
)
def test_a_token_from_the_secrets_file(tmp_path, secrets, written) -> None:
    section = Section(tmp_path, f"printer_token: {written}", secrets)
    assert section.loaded.settings.printer_token == TOKEN
    assert section.loaded.origins["printer_token"] is Origin.MOONRAKER_CONF
    assert section.loaded.problems == ()
    assert section.server.warnings == []


@pytest.mark.parametrize("secrets", ["", '{"tecmedhub": {}}', '{"other": 1}', "{broken"])
def test_a_secret_that_is_not_there_is_named_and_nothing_fails(tmp_path, secrets) -> None:
    section = Section(tmp_path, "printer_token: {secrets.tecmedhub.token}", secrets)
    assert section.loaded.settings.printer_token == ""
    assert not section.loaded.settings.complete
    (text,) = section.warned
    assert "printer_token" in text
    assert "moonraker.secrets" in text


def test_a_broken_template_fails_nothing(tmp_path) -> None:
    section = Section(tmp_path, "printer_token: {secrets.tecmedhub.token | nosuch}", "{}")
    assert section.loaded.settings.printer_token == ""
    assert len(section.warned) == 1


def test_a_literal_token_works_with_a_hint_that_does_not_show_it(tmp_path) -> None:
    section = Section(tmp_path, f"printer_token: {TOKEN}")
    assert section.loaded.settings.printer_token == TOKEN
    assert section.warned == []
    (hint,) = section.explained
    assert "{secrets.tecmedhub.token}" in hint
    assert TOKEN not in hint


def test_a_literal_token_with_braces_is_no_template(tmp_path, caplog) -> None:
    with caplog.at_level(logging.DEBUG):
        section = Section(tmp_path, "printer_token: ab{cd}{%ef")
    assert section.loaded.settings.printer_token == "ab{cd}{%ef"
    assert "cd" not in "".join(record.getMessage() for record in caplog.records[1:])


def test_addresses_may_refer_to_secrets(tmp_path) -> None:
    secrets = json.dumps({"cam": {"password": "pw1"}, "hub": {"url": "https://h/api.php"}})
    text = "server_url: {secrets.hub.url}\ncamera_urls:\n  http://me:{secrets.cam.password}@c/"
    settings = Section(tmp_path, text, secrets).loaded.settings
    assert settings.server_url == "https://h/api.php"
    assert settings.camera.urls == ("http://me:pw1@c/",)


def test_every_kind_of_option(tmp_path) -> None:
    section = Section(
        tmp_path,
        """
server_url: https://tmeduca.org/printerhub/api.php
printer_name: 🦄 Mi Impresora
intervals_status_update: 7.5
retries_exponential_backoff: no
camera_urls:
    http://a/?action=snapshot
    http://b/jpg
security_remote_control: print
security_denied_actions: reboot, shutdown
printer_data_tags: Prusa, PLA
printer_data_filament_material: PETG
printer_data_filament_remaining: 80
printer_data_filament_brand: X
""",
    )
    settings = section.loaded.settings
    assert section.loaded.problems == ()
    assert section.server.warnings == []
    assert settings.server_url == "https://tmeduca.org/printerhub/api.php"
    assert settings.printer_name == "🦄 Mi Impresora"
    assert settings.intervals.status_update == 7.5
    assert settings.intervals.status_idle == 7.5
    assert settings.retries.exponential_backoff is False
    assert settings.camera.urls == ("http://a/?action=snapshot", "http://b/jpg")
    assert settings.security.remote_control is RemoteControl.PRINT
    assert settings.security.denied_actions == ("reboot", "shutdown")
    assert settings.printer_data.tags == ("Prusa", "PLA")
    assert settings.printer_data.filament == {"material": "PETG", "remaining": 80, "brand": "X"}


def test_wrong_values_fall_back_by_themselves(tmp_path) -> None:
    section = Section(
        tmp_path, "intervals_status_update: 0\nintervals_command_check: 9\ncamera_enabled: maybe"
    )
    settings = section.loaded.settings
    assert settings.intervals.status_update == 5
    assert settings.intervals.command_check == 9
    assert settings.camera.enabled is True
    first, second = sorted(section.warned)
    assert all(word in second for word in ("intervals_status_update", '"0"', "0.5 to 55 seconds"))
    assert all(word in first for word in ("camera_enabled", '"maybe"', "true or false"))


def test_unknown_options_are_ours_to_report_without_their_value(tmp_path) -> None:
    """Moonraker would show value and all: a misspelt name may hold the token."""
    section = Section(tmp_path, f"printer_tokn: {TOKEN}\nintervals_statusupdate: 3")
    assert section.server.warnings == []
    assert len(section.warned) == 2
    assert any("printer_tokn" in t and "printer_token?" in t for t in section.warned)
    assert any("intervals_status_update?" in text for text in section.warned)
    assert TOKEN not in "".join(section.warned)


def test_what_v4_needed_is_explained(tmp_path) -> None:
    section = Section(
        tmp_path,
        "moonraker_url: http://localhost:7125\nfile_management_gcode_directory: /home/pi\n"
        "auto_update_enabled: true",
    )
    assert section.warned == []
    assert len(section.explained) == 3
    assert all("no longer needed" in text for text in section.explained)


def test_a_token_pasted_into_another_option_is_not_shown(tmp_path) -> None:
    section = Section(tmp_path, f"printer_token: {TOKEN}\nserver_url: {TOKEN}")
    assert section.loaded.settings.server_url == ""
    (text,) = section.warned
    assert "server_url" in text
    assert TOKEN not in text


def test_mistyped_security_is_cautious_rather_than_open(tmp_path) -> None:
    section = Section(
        tmp_path,
        "security_remote_control: moniter\nsecurity_allowed_gcode_patterns: G1 X5\n"
        "security_require_clear_bed: si\nsecurity_denied_actions: reboot, &&",
    )
    security = section.loaded.settings.security
    assert security.remote_control is RemoteControl.MONITOR
    assert security.allowed_gcode_patterns == ()
    assert security.require_clear_bed is True
    assert {"reboot", "shutdown", "print"} < set(security.denied_actions)
    assert len(section.warned) == 5
    assert any("to be safe, monitor is in force" in text for text in section.warned)


def test_a_misspelt_name_of_security_is_cautious_too(tmp_path) -> None:
    section = Section(tmp_path, "security_remote_controll: off\nremote_control: off")
    assert section.loaded.settings.security.remote_control is RemoteControl.MONITOR
    assert section.loaded.settings.security.require_clear_bed is False


def test_every_line_of_the_example_can_be_activated(tmp_path) -> None:
    text = (ROOT / "moonraker.conf.example").read_text(encoding="utf-8").split("\n[tecmedhub]\n")[1]
    lines = [
        line[1:] if line.startswith("#") and not re.match("# [^ ]|##", line) else line
        for line in text.splitlines()
    ]
    section = Section(tmp_path, "\n".join(lines), json.dumps({"tecmedhub": {"token": TOKEN}}))
    assert section.loaded.problems == ()
    assert section.server.warnings == []
    assert section.loaded.settings.camera.urls == ("http://127.0.0.1:8080/?action=snapshot",)
    written = [path for path, o in section.loaded.origins.items() if o is Origin.MOONRAKER_CONF]
    assert written == [option.path for option in OPTIONS]
    settings, default = section.loaded.settings, Settings()
    for part in ("intervals", "timeouts", "retries", "logging", "expiry"):
        assert getattr(settings, part) == getattr(default, part)


def test_the_name_of_the_json_file(tmp_path) -> None:
    assert Section(tmp_path, "").conf.config_file == "tecmedhub.json"
    assert Section(tmp_path, "config_file: lab/mine.json").conf.config_file == "lab/mine.json"
    section = Section(tmp_path, "config_file: ../../etc/passwd")
    assert section.conf.config_file == "tecmedhub.json"
    assert "config_file" in section.warned[0]


class Hostile:
    """A ConfigHelper that fails wherever it can."""

    def get_options(self) -> dict[str, str]:
        return {"printer_token": "x", "camera_urls": "y", "nosuch": "z"}

    def get(self, name: str, default: Any = None) -> Any:
        if name == "camera_urls":
            raise ConfigError("no")
        return "{secrets.a.b}" if name == "printer_token" else 5

    def gettemplate(self, name: str) -> Any:
        raise ConfigError("no")


def test_nothing_that_the_helper_does_gets_out() -> None:
    conf = read_conf(Hostile())
    assert conf.values == {}
    assert len(conf.problems) == 1
    assert read_conf(object()).problems[0].origin is Origin.MOONRAKER_CONF
