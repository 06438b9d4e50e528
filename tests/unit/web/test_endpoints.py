"""What comes back from `/server/tecmedhub/…`, and that nothing else does."""

from __future__ import annotations

import io
import json
import zipfile
from types import SimpleNamespace

import pytest

from components.hub.client import Reply
from components.hub.outcomes import Failure
from components.runtime.logs import LOG_FILE, logs_folder
from components.runtime.messages import say
from tests.unit.web.support import JPEG, PREFIX, TOKEN, House, failed, merge_settings

GET = {
    *("status", "config", "history", "doctor", "commands", "events"),
    *("image", "panel", "snapshot", "cleanup", "support", "log", "what_if"),
}
POST = {
    *("test_connection", "snapshot", "timelapse_now", "bed_clear", "settings"),
    *("remote_on", "remote_off", "cleanup", "cancel_download", "what_if"),
}


def test_every_endpoint_is_registered_with_its_methods(house: House) -> None:
    found = {
        path[len(PREFIX) :]: methods for path, (methods, _, _) in house.server.endpoints.items()
    }
    assert {name for name, methods in found.items() if "GET" in methods} >= GET
    assert {name for name, methods in found.items() if "POST" in methods} == POST


def test_only_the_page_is_open_to_strangers(house: House) -> None:
    """Moonraker asks for authorization wherever `auth_required` is not switched off."""
    open_ones = [
        path
        for path, (_, _, options) in house.server.endpoints.items()
        if options.get("auth_required") is False
    ]
    assert open_ones == [PREFIX + "panel", PREFIX]


async def test_the_status_tells_hub_printer_and_controls(house: House) -> None:
    await house.hub_says(house.reporter.reply)
    status = await house.server.call("GET", "status")
    assert status["hub"]["state"] == "connected"
    assert status["hub"]["host"] == "127.0.0.1"
    stages = dict.fromkeys(("dns", "tcp", "http", "json", "token"), True)
    assert status["hub"]["stages"] == dict(stages, tls=None)  # http:// has none
    assert status["hub"]["latency_ms"] == 80.0
    assert status["last_sent"]["bytes"] == 1800
    assert status["last_sent"]["reasons"] == ["printer"]
    assert status["printer"]["filename"] == "pieza.gcode"
    assert status["printer"]["heaters"]["extruder"] == {"temperature": 209.96, "target": 210.0}
    assert status["remote"] == {"on": True, "level": "full"}
    assert status["bed"]["needs_clearing"] is True
    assert status["statistics"] == {"updates_sent": 3}


async def test_a_hub_that_is_away_is_told_in_both_languages(house: House) -> None:
    sentence = say(
        "{host} refuses connections: check that the web server runs, and the port in server_url.",
        host="127.0.0.1",
    )
    await house.hub_says(failed(Failure.UNREACHABLE, sentence))
    hub = (await house.server.call("GET", "status"))["hub"]
    assert (hub["state"], hub["failure"], hub["sentence"]) == (
        "disconnected",
        "unreachable",
        sentence,
    )
    assert "comprueba que el servidor web" in hub["sentence_es"]
    assert hub["stages"]["dns"] is True
    assert hub["stages"]["tcp"] is False
    assert hub["stages"]["http"] is None


async def test_the_last_accepted_status_stays_known_during_an_outage(house: House) -> None:
    await house.hub_says(house.reporter.reply)
    accepted = house.clock.time()
    house.clock.advance(60)
    await house.hub_says(failed(Failure.TIMED_OUT, "Too slow."))
    sent = (await house.server.call("GET", "status"))["last_sent"]
    assert sent["ok"] is False
    assert sent["taken_at"] == accepted
    assert sent["at"] == accepted + 60


async def test_without_settings_the_status_says_what_to_write_where(house: House) -> None:
    house.live.replace(merge_settings({}))
    hub = (await house.server.call("GET", "status"))["hub"]
    assert hub["state"] == "unconfigured"
    assert hub["file"] == "tecmedhub.json"
    assert "server_url" in hub["sentence"]


async def test_no_answer_holds_the_token(house: House) -> None:
    house.notices.show("leak", f"A sentence with {TOKEN} in it.")
    house.commands.rows = [{"id": 1, "message": f"token={TOKEN}", "printer_token": TOKEN}]
    house.journal.record("klippy_error", {"message": f"it said {TOKEN}"})
    await house.hub_says(house.reporter.reply)
    for path, (methods, _, options) in house.server.endpoints.items():
        if "GET" not in methods or options.get("content_type"):
            continue
        answer = json.dumps(await house.server.call("GET", path[len(PREFIX) :]))
        assert TOKEN not in answer, path
    events = await house.server.call("GET", "events")
    assert "it said ********" in json.dumps(events)


async def test_the_last_body_is_shown_without_its_pictures(house: House) -> None:
    await house.hub_says(house.reporter.reply)
    body = (await house.server.call("GET", "status"))["last_body"]
    assert body["token"] == "********"
    assert body["name"] == "Aula 3"
    assert len(body["image"]) < 60


async def test_what_json_cannot_carry_becomes_null_or_question_marks(house: House) -> None:
    house.commands.rows = [{"id": float("nan"), "message": "bad \ud800 name", "at": float("inf")}]
    (row,) = (await house.server.call("GET", "commands"))["commands"]
    assert row == {"id": None, "message": "bad ? name", "at": None}
    json.dumps(row, allow_nan=False).encode("utf-8")


async def test_lists_are_bounded(house: House) -> None:
    house.commands.rows = [{"id": n} for n in range(500)]
    for limit, expected in (("10", 10), ("100000", 200), ("-3", 1), ("many", 50), (None, 50)):
        args = {} if limit is None else {"limit": limit}
        answer = await house.server.call("GET", "commands", **args)
        assert len(answer["commands"]) == expected


async def test_config_lists_every_option_with_its_origin(house: House) -> None:
    config = await house.server.call("GET", "config")
    rows = {row["path"]: row for row in config["options"]}
    assert rows["server_url"]["value"] == "http://127.0.0.1/api.php"
    assert rows["server_url"]["origin"] == "moonraker.conf"
    assert rows["intervals.status_update"]["origin"] == "default"
    assert rows["printer_token"]["value"] == "********"
    assert all(row["es"] and row["en"] for row in rows.values())


# Doing


async def test_a_picture_is_taken_for_whoever_looks(house: House) -> None:
    await house.server.call("GET", "image", camera="frontal", max_age="0")
    assert house.cameras.viewed == [("frontal", 1.0)]


async def test_the_end_of_the_log_without_secrets(house: House) -> None:
    log = logs_folder(house.server.get_app_args()) / LOG_FILE
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(f"one\ntwo {TOKEN}\nthree\n", encoding="utf-8")
    answer = await house.server.call("GET", "log", limit=2)
    assert answer["lines"] == ["two ********", "three"]


async def test_who_clears_the_bed_is_passed_on(house: House) -> None:
    house.idle()
    answer = await house.server.call("POST", "bed_clear", user="ana")
    assert answer["ok"] is True
    await house.server.call("POST", "bed_clear", user="_TRUSTED_USER_")
    assert house.commands.told == [("bed", "ana"), ("bed", "the web interface at 10.0.0.7")]


async def test_why_the_bed_cannot_be_cleared_is_said(house: House) -> None:
    house.commands.job_on_bed = True
    answer = await house.server.call("POST", "bed_clear", user="ana")
    assert (answer["ok"], answer["message"]) == (False, "A job is on the bed.")
    await house.server.remote_methods["tecmedhub_bed_clear"]()
    assert "A job is on the bed." in house.board.console[-1]


async def test_the_kill_switch(house: House) -> None:
    await house.server.call("POST", "remote_off")
    assert house.commands.remote_on is False
    assert (await house.server.call("GET", "status"))["remote"]["on"] is False
    await house.server.call("POST", "remote_on")
    assert house.commands.remote_on is True


async def test_cleanup_shows_before_it_deletes(house: House) -> None:
    plan = await house.server.call("GET", "cleanup")
    assert plan["dry_run"] is True
    assert plan["files"][0]["path"] == "old.gcode"
    refused = await house.server.call("POST", "cleanup")
    assert refused["ok"] is False
    assert house.cleanup.deleted is False
    done = await house.server.call("POST", "cleanup", confirm=True)
    assert done["ok"] is True
    assert house.cleanup.deleted is True
    assert done["files"][0]["size"] == 5000


async def test_cleanup_deletes_only_what_somebody_has_seen(house: House) -> None:
    other = await house.server.call("POST", "cleanup", confirm=True, files=["another.gcode"])
    assert other["files"] == []
    seen = await house.server.call("POST", "cleanup", confirm=True, files=["old.gcode"])
    assert [file["path"] for file in seen["files"]] == ["old.gcode"]
    house.cleanup.deleted = False
    refused = await house.server.call("POST", "cleanup", confirm=True, files="old.gcode")
    assert refused["ok"] is False
    assert house.cleanup.deleted is False


async def test_cancelling_a_download(house: House) -> None:
    nothing = await house.server.call("POST", "cancel_download")
    assert nothing["ok"] is False
    house.transfers.progress = {"file": "a.gcode", "percent": 10}
    done = await house.server.call("POST", "cancel_download", file="a.gcode")
    assert done["ok"] is True
    assert house.transfers.cancelled == ["a.gcode"]


async def test_pictures(house: House) -> None:
    taken = await house.server.call("POST", "snapshot")
    assert taken["ok"] is True
    assert house.cameras.taken == 1
    assert (await house.server.call("GET", "snapshot"))["cameras"][0]["name"] == "frontal"
    assert await house.server.call("GET", "image", camera="frontal") == JPEG
    missing = await house.server.call("GET", "image", camera="nobody")
    assert missing["ok"] is False
    house.cameras.shot = SimpleNamespace(jpeg=JPEG, taken_at=0.0)  # of before it was asked for
    assert (await house.server.call("POST", "snapshot"))["ok"] is False
    _, _, options = house.server.endpoints[PREFIX + "image"]
    assert options["content_type"] == "image/jpeg"


async def test_testing_the_connection_reports_and_books_it(house: House) -> None:
    good = await house.server.call("POST", "test_connection")
    assert good["ok"] is True
    assert good["milliseconds"] == 80.0
    assert house.link.connected is True
    house.reporter.reply = failed(Failure.REFUSED, 'The hub refuses: "Token inválido".', 200)
    bad = await house.server.call("POST", "test_connection")
    assert (bad["ok"], bad["failure"]) == (False, "refused")
    assert "Token inválido" in bad["message"]
    assert house.link.connected is False


async def test_without_settings_there_is_nothing_to_test(house: House) -> None:
    house.live.replace(merge_settings({"server_url": ""}))
    answer = await house.server.call("POST", "test_connection")
    assert answer["ok"] is False
    assert "server_url" in answer["message"]
    assert house.reporter.last_body is None


async def test_a_fault_of_ours_becomes_a_sentence_and_one_log_line(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(limit: int = 50) -> list[dict[str, object]]:
        raise KeyError("seq")

    house.commands.recent = broken  # type: ignore[method-assign]
    for _ in range(3):
        answer = await house.server.call("GET", "commands")
        assert answer["ok"] is False
        assert "KeyError" in answer["message"]
    assert len([r for r in caplog.records if "commands" in r.getMessage()]) == 1


async def test_the_support_bundle_holds_what_helps_and_no_secret(house: House) -> None:
    logs = house.folder / "logs"
    logs.mkdir()
    lines = [f"line {n} token={TOKEN} http://me:pw123456@cam/\n" for n in range(20_000)]
    (logs / "tecmedhub.log").write_text("".join(lines))
    house.notices.show("leak", f"A sentence with {TOKEN} in it.")
    house.commands.rows = [{"id": 1, "message": f"it said {TOKEN}"}]
    await house.hub_says(house.reporter.reply)
    with zipfile.ZipFile(io.BytesIO(await house.server.call("GET", "support"))) as bundle:
        texts = {name: bundle.read(name).decode("utf-8") for name in bundle.namelist()}
    assert set(texts) == {
        *("README.txt", "versions.json", "doctor.txt", "doctor.json", "tecmedhub.log"),
        *("status.json", "config.json", "commands.json", "events.json", "history.json"),
    }
    for name, text in texts.items():
        assert TOKEN not in text, name
        assert "pw123456" not in text, name
    assert texts["tecmedhub.log"].startswith("line ")
    assert texts["tecmedhub.log"].endswith("line 19999 token=******** http://********@cam/\n")
    assert json.loads(texts["commands.json"])["commands"][0]["message"] == "it said ********"
    assert json.loads(texts["config.json"])["options"]
    assert "Klipper is ready." in texts["doctor.txt"]


@pytest.mark.parametrize(
    ("language", "about", "why"),
    [
        ("en", "Support bundle of TecMedHub", "tecmedhub.log cannot be read: "),
        ("es", "Informe de ayuda de TecMedHub", "tecmedhub.log no se puede leer: "),
    ],
)
async def test_a_bundle_without_a_log_says_so_in_the_language_of_the_house(
    house: House, language: str, about: str, why: str
) -> None:
    house.board.language = language
    with zipfile.ZipFile(io.BytesIO(await house.server.call("GET", "support"))) as bundle:
        assert bundle.read("README.txt").decode("utf-8").startswith(about)
        assert bundle.read("tecmedhub.log").decode("utf-8").startswith(why)
    assert (await house.server.call("GET", "log"))["lines"][0].startswith(why)


# The page


async def test_the_page_is_whole_and_holds_no_secret(house: House) -> None:
    html = (await house.server.call("GET", "panel")).decode("utf-8")
    assert html.startswith("<!DOCTYPE html>")
    for mark in ("/*STYLE*/", "/*SCRIPT*/", "<!--POLICY-->"):
        assert mark not in html
    assert TOKEN not in html
    assert "127.0.0.1" not in html
    assert (await house.server.call("GET", "panel")).decode("utf-8") == html


# History


async def test_the_last_hour_is_kept_and_no_more(house: House) -> None:
    charts = house.charts
    for _ in range(400):
        house.clock.advance(10)
        charts.exchange_ended({}, Reply(True, "", seconds=0.1))
        charts.exchange_ended({}, Reply(True, "", seconds=0.3))
        charts.sample()
    answer = await house.server.call("GET", "history")
    assert len(answer["times"]) == 360
    assert answer["times"][-1] == house.clock.time()
    assert answer["times"][0] == house.clock.time() - 3590
    assert set(answer["latency"]) == {200.0}
    assert answer["temperatures"]["extruder"]["target"][-1] == 210.0
    assert answer["temperatures"]["temperature_sensor raspberry_pi"]["temperature"][-1] == 51.2
    later = await house.server.call("GET", "history", since=answer["times"][-3])
    assert later["times"] == answer["times"][-2:]


async def test_a_heater_that_came_and_went_leaves_holes(house: House) -> None:
    charts = house.charts
    with_heaters = house.printer.snapshot
    charts.sample()
    house.printer.snapshot = type(with_heaters)()
    house.clock.advance(10)
    charts.sample()
    answer = await house.server.call("GET", "history")
    columns = answer["temperatures"]["extruder"]["temperature"]
    assert columns[-2:] == [210.0, None]
    assert answer["latency"][-1] is None


async def test_a_jump_of_the_clock_leaves_no_fold_in_the_chart(house: House) -> None:
    charts = house.charts
    charts.sample()
    house.clock.wall += 30 * 365 * 86400  # NTP arrives
    house.clock.advance(10)
    charts.sample()
    times = (await house.server.call("GET", "history"))["times"]
    assert times[-1] - times[-2] == pytest.approx(10, abs=0.2)


async def test_a_command_is_tried_as_the_hub_writes_it(house: House) -> None:
    said = await house.server.call("POST", "what_if", command='{"action": "home"}')
    assert said["ok"] is True
    assert said["commands"] == [{"raw": {"action": "home"}, "generation": 1}]
    said = await house.server.call("POST", "what_if", command=[{"id": 1}], generation=2)
    assert said["commands"][0]["generation"] == 2
    for wrong in ("{\n\n", "7", None, "[" * 30_000, " " * 30_000, {}):
        said = await house.server.call("POST", "what_if", command=wrong)
        assert said["ok"] is False and said["message"], wrong
    actions = (await house.server.call("GET", "what_if"))["actions"]
    by_name = {action["name"]: action["parameters"] for action in actions}
    assert by_name["set_speed"]["speed"]["max"] == 200
    assert by_name["gcode"] == {"gcode": {"type": "text"}}
