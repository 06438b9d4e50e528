"""Requests and replies of the two server generations."""

from __future__ import annotations

import pytest

from components.hub import protocol
from components.hub.protocol import Features, Generation
from components.settings.model import Settings

ONE = protocol.endpoints(Settings(server_url="https://tmeduca.org/printerhub/api.php"))
TWO = protocol.endpoints(Settings(server_url="https://h.example:8443/printer-api/update.php"))


def test_the_generation_is_told_by_the_path() -> None:
    assert ONE.generation is Generation.ONE
    assert TWO.generation is Generation.TWO
    forced = protocol.endpoints(Settings(server_url="https://h/update.php", protocol="1"))
    assert forced.generation is Generation.ONE


def test_the_siblings_derive_from_the_server_url() -> None:
    assert ONE.image == "https://tmeduca.org/printerhub/upload_image.php"
    assert ONE.files == "https://tmeduca.org/printerhub/api_files.php"
    assert TWO.commands == "https://h.example:8443/printer-api/commands.php"
    assert TWO.files == "https://h.example:8443/printer-api/files.php"
    assert TWO.image == ""


def test_an_option_overrides_a_sibling() -> None:
    settings = Settings(server_url="https://h/api.php", commands_url="https://h/other.php")
    where = protocol.endpoints(settings)
    assert protocol.commands_url(where, "T", 0).startswith("https://h/other.php?")


def test_the_commands_request_of_each_generation() -> None:
    assert protocol.commands_url(ONE, "A&B ñ", 0) == (
        "https://tmeduca.org/printerhub/api.php?action=get_commands&token=A%26B+%C3%B1&redeliver=1"
    )
    assert protocol.commands_url(TWO, "T", 25).endswith("commands.php?token=T&wait=25&redeliver=1")


def test_a_query_in_the_server_url_is_kept() -> None:
    where = protocol.endpoints(Settings(server_url="https://h/api.php?lab=3"))
    assert "?lab=3&action=get_commands&token=T" in protocol.commands_url(where, "T", 0)


def test_the_file_requests_of_each_generation() -> None:
    assert protocol.file_url(ONE, "T", "a b.gcode").endswith(
        "api_files.php?action=download_file&file=a+b.gcode&printer_token=T"
    )
    url, body = protocol.mark_downloaded(ONE, "T", "x.gcode")
    assert url.endswith("api_files.php?action=mark_downloaded")
    assert body == {"file": "x.gcode", "printer_token": "T"}
    url, body = protocol.mark_downloaded(TWO, "T", "x.gcode")
    assert url.endswith("/files.php")
    assert body["action"] == "mark_downloaded"


def test_announced_features_are_bounded() -> None:
    said = {"command_results": 1, "long_poll": "500", "events": "true", "new_thing": True}
    assert protocol.read_features({"features": said}) == Features(
        command_results=True, long_poll=protocol.LONGEST_WAIT, events=True
    )
    assert protocol.read_features({"success": True}) is None
    assert protocol.read_features({"features": []}) == Features()


@pytest.mark.parametrize("files", [None, [], "x", {"a": 1}, [None, 3, "x", {}, {"name": ""}]])
def test_a_file_list_of_any_shape_is_read(files: object) -> None:
    assert not any(map(protocol.read_file, protocol.listed_files({"files": files})))


def test_a_file_list_in_phps_habits() -> None:
    entry = {
        "name": "u_1.gcode",
        "original_name": "Pieza 🦄.gcode",
        "size": "2.5 MB",
        "size_bytes": "2621440",
        "md5": "D41D8CD98F00B204E9800998ECF8427E",
        "exists": 1,
    }
    assert protocol.read_file({"name": "gone.gcode", "exists": False}) is None
    found = protocol.read_file(entry)
    assert found is not None
    assert (found.name, found.size) == ("u_1.gcode", 2621440)
    assert found.md5 == "d41d8cd98f00b204e9800998ecf8427e"
    assert found.original_name == "Pieza 🦄.gcode"


def test_a_checksum_that_is_none_is_no_checksum() -> None:
    found = protocol.read_file({"name": "a.gcode", "md5": "not-a-sum", "size": -4})
    assert found is not None
    assert (found.md5, found.size) == ("", None)


def test_a_hub_that_hands_out_again_is_told_that_we_run_an_id_once() -> None:
    assert protocol.commands_url(TWO, "T", 0).endswith("commands.php?token=T&redeliver=1")
    said = protocol.read_features({"features": {"redeliver": "20"}})
    assert said is not None and said.redeliver == 20.0
