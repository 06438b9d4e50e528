"""What the operator writes, on the real stack: saved as Mainsail saves it, seen at the hub."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rig.gcode import make_gcode
from tests.rig.stack import Stack

pytestmark = pytest.mark.stack

FILE = "tecmedhub.json"
V4 = Path(__file__).parents[1] / "unit" / "settings" / "printer_config_v4.json"
SECRET = "TECMED_s3cr3t_PRINTER_001"
RATES = {"intervals_status_update": 50, "intervals_command_check": 1}


def save(stack: Stack, content: Any, name: str = FILE) -> None:
    """As the web interfaces save a file of the config folder."""
    text = content if isinstance(content, str) else json.dumps(content)
    stack.moonraker.upload(name, text, root="config")


def warning(stack: Stack, *words: str) -> str:
    """Wait for the warning that holds all of `words`."""

    def found() -> str:
        texts = [t for t in stack.moonraker.warnings() if all(word in t for word in words)]
        return texts[0] if texts else ""

    return str(stack.moonraker.wait(found, 10, f"a warning with {words}"))


def no_warning(stack: Stack) -> None:
    def gone() -> bool:
        return not [t for t in stack.moonraker.warnings() if "TecMedHub" in t]

    stack.moonraker.wait(gone, 10, f"no warning of ours in {stack.moonraker.warnings()}")


def option(stack: Stack, path: str) -> dict[str, Any]:
    rows = stack.moonraker.get("/server/tecmedhub/config")["options"]
    return dict(next(row for row in rows if row["path"] == path))


def own_log(stack: Stack) -> str:
    return (stack.moonraker.logs / "tecmedhub.log").read_text(encoding="utf-8")


def test_a_save_in_mid_print_changes_the_interval(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack(options=RATES)
    stack.put("cube.gcode", make_gcode(seconds=180))  # it outlasts the wait below
    stack.print("cube.gcode")
    stack.hub.wait_for(lambda: "printing" in stack.hub.states(stack.token), 20)
    save(
        stack,
        '{\n  // faster now\n  "intervals": {"status_update": 0.5,},\n  "printer_name": "Saved"\n}',
    )
    stack.hub.wait_for(lambda: stack.hub.status(stack.token)["name"] == "Saved", 10)
    before = stack.hub.count(stack.token)
    # At the old interval of 50 s only changes of the printer would be heard of.
    stack.hub.wait_for(lambda: stack.hub.count(stack.token) >= before + 12, 45)
    assert stack.klippy.query("print_stats")["state"] == "printing"
    assert option(stack, "intervals.status_update")["origin"] == "json"

    save(stack, '{\n  "intervals": {"status_update": 30}\n  "printer_name": "Broken"\n}')
    text = warning(stack, "tecmedhub.json is not applied")
    assert "line 2, column 37: a comma is missing here" in text
    assert option(stack, "intervals.status_update")["value"] == 0.5
    assert stack.hub.status(stack.token)["name"] == "Saved"

    save(stack, {"intervals": {"status_update": 0}, "printer_name": "Mended"})
    stack.hub.wait_for(lambda: stack.hub.status(stack.token)["name"] == "Mended", 10)
    text = warning(stack, "intervals.status_update")
    assert "must be a number from 0.5 to 55 seconds; 0.5 stays in force" in text
    assert not [t for t in stack.moonraker.warnings() if "is not applied" in t]
    stack.moonraker.delete(f"/server/files/config/{FILE}")
    stack.hub.wait_for(lambda: stack.hub.status(stack.token)["name"] == "Bench", 10)
    no_warning(stack)
    assert option(stack, "intervals.status_update")["origin"] == "moonraker.conf"


def test_an_edit_over_ssh_applies_too(stack: Stack) -> None:
    assert stack.override.is_file()  # laid down at the first start, sets nothing
    stack.override.write_text('{"printer_data": {"location": "Lab 2"}}', encoding="utf-8")
    stack.hub.wait_for(lambda: stack.hub.status(stack.token)["location"] == "Lab 2", 10)
    replacement = stack.override.with_suffix(".new")
    replacement.write_text('{"printer_data": {"location": "Lab 3"}}', encoding="utf-8")
    replacement.rename(stack.override)
    stack.hub.wait_for(lambda: stack.hub.status(stack.token)["location"] == "Lab 3", 10)


@pytest.fixture
def v4_file(stack: Stack) -> Iterator[Path]:
    path = stack.moonraker.config_folder / "printer_config.json"
    yield path
    path.unlink(missing_ok=True)


def test_v4_s_own_file_dropped_there_works_unchanged(stack: Stack, v4_file: Path) -> None:
    """But for the server's address and the token, which are this bench's, and the camera."""
    text = V4.read_text(encoding="utf-8")
    text = text.replace("https://tmeduca.org/printerhub/api.php", stack.server_url)
    text = text.replace("TECMED_PRINTER_001", stack.token)
    text = text.replace('"enabled": true', '"enabled": false')
    save(stack, text, v4_file.name)
    stack.hub.wait_for(lambda: stack.hub.status(stack.token)["name"] == "🦄 Mi Impresora 3D", 10)
    status = stack.hub.status(stack.token)
    assert status["tags"] == ["Prusa", "PLA"]
    assert status["filament"] == {"material": "PLA", "color": "Negro", "remaining": 100}
    assert (status["bed_status"], status["location"]) == ("limpia", "Lab Principal")
    no_warning(stack)
    log = own_log(stack)
    assert "moonraker_url is no longer needed" in log
    assert "gcode_directory is no longer needed" in log


def test_without_address_and_token_it_says_what_to_write_where(stack: Stack) -> None:
    stack.configure(server_url=None, printer_token=None)
    text = warning(stack, "Nothing is sent", "server_url", "printer_token", FILE, "[tecmedhub]")
    assert "moonraker.conf" in text
    heard = len(stack.hub.requests())
    save(stack, {"server_url": stack.server_url, "printer_token": "T2"})
    stack.hub.wait_for(lambda: stack.hub.status("T2") is not None, 15)
    no_warning(stack)
    assert all(request.token in ("T2", None) for request in stack.hub.requests()[heard:])


def test_a_token_from_the_secrets_file_stands_nowhere(make_stack: Callable[..., Stack]) -> None:
    options = {
        "printer_token": "{secrets.tecmedhub.token}",
        "logging_level": "DEBUG",
        "logging_verbose": True,
    }
    stack = make_stack(connected=False, token="T1", options=options)
    secrets = stack.moonraker.config_folder.parent / "moonraker.secrets"
    secrets.write_text(json.dumps({"tecmedhub": {"token": SECRET}}), encoding="utf-8")
    stack.moonraker.restart_in_process()
    stack.hub.wait_for(lambda: stack.hub.status(SECRET) is not None, 20)
    for preset in ("wrong_token", "html_500", "truncated"):
        stack.hub.fault("status", preset, times=2)
        stack.hub.fault("commands", preset, times=2)
    stack.moonraker.wait(
        lambda: len(re.findall(r"HTTP \d+.* bytes\)", own_log(stack))) > 10, 30, "verbose lines"
    )
    stack.hub.kill()
    stack.moonraker.wait(lambda: "no reply" in own_log(stack), 30, "an outage in the log")
    for path in ("config", "status", "commands", "events"):
        answer = json.dumps(stack.moonraker.get(f"/server/tecmedhub/{path}"))
        assert SECRET not in answer, path
    assert SECRET not in json.dumps(stack.moonraker.get("/server/config"))
    assert SECRET not in json.dumps(stack.moonraker.warnings())
    logs = list(stack.moonraker.logs.iterdir())
    assert {"moonraker.log", "tecmedhub.log"} <= {path.name for path in logs}
    for path in logs:
        assert SECRET.encode() not in path.read_bytes(), path.name


def test_the_log_follows_its_options_and_outlives_a_restart(stack: Stack) -> None:
    def exchanges() -> int:
        return len(re.findall(r"DEBUG .*HTTP 200 \(\d+ ms", own_log(stack)))

    def starts(text: str) -> int:
        return text.count("is at work")

    assert starts(own_log(stack)) == starts(stack.moonraker.log_text()) > 0
    before = exchanges()
    save(stack, {"logging": {"verbose": True}})
    stack.moonraker.wait(lambda: exchanges() > before, 15, "an exchange in the log")
    before = starts(own_log(stack))
    stack.moonraker.restart_in_process()

    def logs() -> tuple[str, str]:
        return own_log(stack), stack.moonraker.log_text()

    stack.moonraker.wait(
        lambda: min(map(starts, logs())) > before, 15, "lines of both logs after the restart"
    )
    # Neither log has a line twice: no handler of the first life is left.
    for text in logs():
        assert starts(text) == before + 1


STRICT = {"security": {"remote_control": "off", "require_clear_bed": True}, "printer_name": "Ñ"}


def security(stack: Stack, name: str) -> Any:
    return option(stack, f"security.{name}")["value"]


def test_a_broken_file_loosens_nothing_when_moonraker_starts_anew(
    make_stack: Callable[..., Stack],
) -> None:
    stack = make_stack()
    text = json.dumps(STRICT, ensure_ascii=False, indent=1)
    save(stack, text)
    stack.moonraker.wait(lambda: security(stack, "remote_control") == "off", 10, "off")
    save(stack, text.replace(",", ""))
    warning(stack, "tecmedhub.json is not applied", "What it said before stays in force")
    stack.moonraker.stop()
    stack.moonraker.start()
    stack.moonraker.wait_klippy()
    warning(stack, "tecmedhub.json is not applied", "What it said before stays in force")
    assert security(stack, "remote_control") == "off"
    assert security(stack, "require_clear_bed") is True
    stack.hub.wait_for(lambda: stack.hub.status(stack.token)["name"] == "Ñ", 10)
    assert stack.do("home").status == "refused"

    stack.override.write_bytes(text.encode("cp1252"))  # as Notepad saves it as "ANSI"
    stack.moonraker.restart_in_process()
    no_warning(stack)
    assert security(stack, "remote_control") == "off"

    stack.override.unlink()
    stack.moonraker.restart_in_process()
    warning(stack, "security.remote_control is no longer written", "off stays in force")
    save(stack, {"security": {"remote_control": "full", "require_clear_bed": False}})
    no_warning(stack)
    assert stack.do("home").status == "done"


def test_broken_from_the_first_day_on_is_cautious(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack(connected=False)
    stack.moonraker.stop()
    shutil.rmtree(stack.moonraker.state_folder)
    stack.override.write_text('{"security": {"remote_control": "off"', encoding="utf-8")
    stack.moonraker.start()
    warning(stack, "is not applied", "cautious", "monitor")
    assert security(stack, "remote_control") == "monitor"
    assert security(stack, "require_clear_bed") is True


def test_v4_s_file_stays_in_force_when_one_option_is_set_in_ours(
    stack: Stack, v4_file: Path
) -> None:
    save(stack, {**STRICT, "printer_data": {"location": "Aula 1"}}, v4_file.name)
    stack.hub.wait_for(lambda: stack.hub.status(stack.token)["location"] == "Aula 1", 10)
    save(stack, {"camera": {"capture_interval": 20}})
    stack.moonraker.wait(
        lambda: option(stack, "camera.capture_interval")["value"] == 20, 10, "the other file"
    )
    assert security(stack, "remote_control") == "off"
    assert option(stack, "security.remote_control")["origin"] == "printer_config.json"
    assert stack.hub.status(stack.token)["location"] == "Aula 1"
    no_warning(stack)


def test_a_section_pasted_above_the_file_that_was_laid_down_counts(stack: Stack) -> None:
    laid_down = stack.override.read_text(encoding="utf-8")
    json.loads(laid_down)  # plain JSON: no editor marks anything
    pasted = '{\n"security": {"remote_control": "monitor"},'
    save(stack, laid_down.replace("{", pasted, 1))
    stack.moonraker.wait(lambda: security(stack, "remote_control") == "monitor", 10, "monitor")
    save(stack, laid_down.replace("{", '{\n"security": "monitor",', 1))
    warning(stack, '"security" must be an object', "line 2")
    assert security(stack, "remote_control") == "monitor"
    save(stack, laid_down.replace('"_location": "Lab Principal"', '"location": "Aula 9"'))
    stack.hub.wait_for(lambda: stack.hub.status(stack.token)["location"] == "Aula 9", 10)


def test_what_is_wrong_is_said_in_the_hub_s_language(stack: Stack) -> None:
    stack.configure(language=None)
    stack.hub.queue(stack.token, "home")
    stack.hub.fault("commands", "wrong_token", times=1)  # in Spanish, as the hub's messages are
    save(stack, '{"camera": {"capture_interval": 0}}')
    text = warning(stack, "camera.capture_interval", "no es válido")
    assert "debe ser un número de 1 a 3600 segundos; rige 30 (el valor predeterminado)" in text
    assert re.search(r"\(desde \d{4}-\d\d-\d\d \d\d:\d\d\)$", text)
    save(stack, {})
    no_warning(stack)
