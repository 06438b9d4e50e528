"""install.sh on machines as they are: what it adds, and that all of it comes out again."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from .machine import CONF, EXCLUDED, LINK, ROOT, FakeMoonraker, Machine, files, git


def sections(conf: Path) -> list[str]:
    lines = conf.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("[") and "tecmedhub" in line]


BOTH = ["[tecmedhub]", "[update_manager tecmedhub]"]


def backups(conf: Path) -> list[Path]:
    return sorted(conf.parent.glob(f"{conf.name}.*.bak"))


# -- what it adds ----------------------------------------------------------------------------------


def test_it_links_excludes_and_adds_both_sections_after_a_backup(machine: Machine) -> None:
    checkout, conf = machine.moonraker(), machine.data()
    said = machine.install("--no-restart")

    assert os.readlink(checkout / "moonraker" / LINK) == str(machine.components)
    assert git(checkout, "status", "--porcelain") == ""
    assert sections(conf) == BOTH
    assert [path.read_text() for path in backups(conf)] == [CONF]
    text = conf.read_text()
    assert text.startswith(CONF)
    for option in (
        "server_url:",
        "printer_token:",
        "printer_name:",
        "type: git_repo",
        f"path: {machine.repository}",
        "origin: https://example.org/lab/tecmedhub.git",
        "primary_branch: main",
        "managed_services: moonraker",
        "is_system_service: False",
    ):
        assert f"\n{option}\n" in text
    assert "address of your server" in said  # tells what is left to do
    assert re.match(r"The panel: http://\S+:7125/server/tecmedhub/panel$", said.splitlines()[-1])
    assert "\x1b" not in said


def test_a_second_run_changes_nothing(machine: Machine) -> None:
    machine.moonraker(), machine.data()
    machine.install("--no-restart")
    before = files(machine.home)
    said = machine.install("--no-restart")
    assert files(machine.home) == before
    assert "Added" not in said and "Linked" not in said


@pytest.mark.parametrize("installed", [False, True], ids=["checkout", "package"])
def test_it_compiles_the_plugin_and_takes_that_out_again(machine: Machine, installed: bool) -> None:
    """With the interpreter of Moonraker, of which only that of its environment is known."""
    machine.data()
    environment = machine.home / "moonraker-env"
    if installed:
        package = environment / "lib" / "python3.11" / "site-packages" / "moonraker"
        (package / "components").mkdir(parents=True)
        (package / "server.py").touch()
    else:
        machine.moonraker()
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to(sys.executable)
    before = files(machine.repository)
    machine.install("--no-restart", "--dry-run")
    assert files(machine.repository) == before
    machine.install("--no-restart")
    tag = sys.implementation.cache_tag
    assert (machine.components / "__pycache__" / f"__init__.{tag}.pyc").is_file()
    machine.install("--no-restart", "--uninstall")
    assert files(machine.repository) == before


def test_an_interpreter_that_fails_is_no_obstacle(machine: Machine) -> None:
    checkout, conf = machine.moonraker(), machine.data()
    python = machine.home / "moonraker-env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    python.chmod(0o755)
    said = machine.install("--no-restart")
    assert "broken" not in said
    assert os.readlink(checkout / "moonraker" / LINK) == str(machine.components)
    assert sections(conf) == BOTH


def test_a_dry_run_names_every_change_and_makes_none(machine: Machine) -> None:
    checkout, conf = machine.moonraker(), machine.data()
    before = files(machine.home)
    said = machine.install("--dry-run")
    assert files(machine.home) == before
    assert str(checkout / "moonraker" / LINK) in said
    assert str(checkout / ".git/info/exclude") in said
    assert f"[tecmedhub] [update_manager tecmedhub] to {conf}" in said
    assert "Linked" not in said and "Added" not in said

    machine.install("--no-restart")
    before = files(machine.home)
    said = machine.install("--uninstall", "--dry-run", "--purge")
    assert files(machine.home) == before
    assert "Would remove" in said


@pytest.mark.parametrize("name", ["update_manager tecmedhub", "tecmedhub"])
def test_a_section_that_is_there_is_left_alone(machine: Machine, name: str) -> None:
    machine.moonraker()
    conf = machine.data(conf=CONF + f"\n[{name}]  # mine\nx: 1\n")
    machine.install("--no-restart")
    assert sorted(line.split("  #")[0] for line in sections(conf)) == BOTH


def test_updates_of_another_copy_are_named(machine: Machine) -> None:
    """Somebody cloned anew elsewhere: what runs would never be updated."""
    machine.moonraker()
    sections = "\n[tecmedhub]\n[update_manager tecmedhub]\npath: {}  # as it was\n"
    conf = machine.data(conf=CONF + sections.format("~/old/plugin"))
    said = machine.install("--no-restart")
    assert "another copy of the plugin, in ~/old/plugin" in said
    here = machine.components.parent
    assert f"set its path to {here}" in said
    conf.write_text(CONF + sections.format(here), encoding="utf-8")
    assert "another copy" not in machine.install("--no-restart")


def test_sections_in_included_files_count(machine: Machine) -> None:
    machine.moonraker()
    conf = machine.data(conf="[include parts/*.conf]\n[include  other file.cfg]\n" + CONF)
    (conf.parent / "parts").mkdir()
    (conf.parent / "parts" / "a.conf").write_text("[include ../deep.cfg]\n[webcam a]\n")
    (conf.parent / "deep.cfg").write_text("[tecmedhub]\r\nserver_url: x\r\n")
    (conf.parent / "other file.cfg").write_text("  [update_manager tecmedhub]\ntype: git_repo\n")
    before = files(conf.parent)
    machine.install("--no-restart")
    assert files(conf.parent) == before


def test_comments_and_continued_values_do_not_count_as_sections(machine: Machine) -> None:
    machine.moonraker()
    value = "[announcements]\nsubscriptions:\n    a\n    [tecmedhub]\n#[tecmedhub]\n"
    conf = machine.data(conf=CONF + value)
    machine.install("--no-restart")
    assert sections(conf)[-2:] == BOTH


def test_includes_in_a_circle_end(machine: Machine) -> None:
    machine.moonraker()
    conf = machine.data(conf="[include b.cfg]\n")
    (conf.parent / "b.cfg").write_text("[include moonraker.conf]\n[update_manager]\n")
    machine.install("--no-restart")
    assert sections(conf) == BOTH


@pytest.mark.parametrize(
    ("remote", "reason"),
    [
        (None, "no remote named origin"),
        ("https://lab:hunter2@example.org/t.git", "password"),
        ("https://ghp_hunter2@example.org/t.git", "token"),
        ("https://example.org/t.git?access_token=hunter2", "token"),
    ],
)
def test_without_a_usable_origin_there_is_no_update_section(
    machine: Machine, remote: str | None, reason: str
) -> None:
    machine.moonraker()
    conf = machine.data()
    git(machine.repository, "remote", "remove", "origin")
    if remote:
        git(machine.repository, "remote", "add", "origin", remote)
    said = machine.install("--no-restart")
    assert reason in said
    assert "hunter2" not in said + conf.read_text()
    assert sections(conf) == ["[tecmedhub]"]


def test_the_update_section_can_be_declined(machine: Machine) -> None:
    machine.moonraker()
    conf = machine.data()
    machine.install("--no-restart", "--no-update-manager")
    assert sections(conf) == ["[tecmedhub]"]


def test_a_repository_with_blanks_in_its_path_is_linked_but_not_updated(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "a b")
    checkout, conf = machine.moonraker(), machine.data()
    assert "blanks" in machine.install("--no-restart")
    assert (checkout / "moonraker" / LINK).samefile(machine.components)
    assert sections(conf) == ["[tecmedhub]"]


def test_a_link_to_elsewhere_is_led_here(machine: Machine) -> None:
    checkout = machine.moonraker()
    machine.data()
    link = checkout / "moonraker" / LINK
    link.symlink_to("/nowhere/components")
    assert "/nowhere/components" in machine.install("--no-restart")
    assert os.readlink(link) == str(machine.components)


# -- and that all of it comes out again ------------------------------------------------------------

ENDINGS = {
    "usual": CONF.encode(),
    "no newline at the end": CONF.rstrip().encode(),
    "CRLF": CONF.replace("\n", "\r\n").encode(),
    "CRLF, none at the end": CONF.rstrip().replace("\n", "\r\n").encode(),
    "blank lines at the end": CONF.encode() + b"\n\n\n",
    "blanks without newline at the end": CONF.encode() + b"   ",
    "empty": b"",
    "one newline": b"\n",
    "not UTF-8": CONF.encode() + b"# caf\xe9\n",
}


@pytest.mark.parametrize("content", ENDINGS.values(), ids=ENDINGS.keys())
def test_uninstall_gives_every_file_back_byte_for_byte(machine: Machine, content: bytes) -> None:
    checkout, conf = machine.moonraker(), machine.data(conf=content)
    before = files(machine.home)
    machine.install("--no-restart")
    added = conf.read_bytes()
    assert added.startswith(content) and len(added) > len(content)
    assert (b"\r\n" in added) == (b"\r\n" in content)
    machine.install("--no-restart")
    machine.install("--uninstall", "--no-restart")

    after = {name: data for name, data in files(machine.home).items() if ".bak" not in name}
    assert after == before
    assert git(checkout, "status", "--porcelain", "--ignored") == ""
    assert all(path.read_bytes() in (content, added) for path in backups(conf))
    assert "nothing to remove" in machine.install("--uninstall", "--no-restart")


@pytest.mark.parametrize("exclude", [None, b"", b"# mine\n*.swp", b"\n*.swp\n\n"])
def test_the_exclude_file_too(machine: Machine, exclude: bytes | None) -> None:
    checkout = machine.moonraker()
    machine.data()
    file = checkout / ".git/info/exclude"
    file.unlink()
    if exclude is None:
        file.parent.rmdir()
    else:
        file.write_bytes(exclude)
    before = files(checkout)
    machine.install("--no-restart")
    assert git(checkout, "status", "--porcelain") == ""
    machine.install("--uninstall", "--no-restart")
    assert files(checkout) == before


def test_what_the_user_added_around_our_lines_stays(machine: Machine) -> None:
    machine.moonraker()
    conf = machine.data(conf=CONF.rstrip())
    machine.install("--no-restart")
    text = conf.read_text().replace("server_url:", "server_url: https://h/api.php")
    conf.write_text("# first\n" + text + "\n\n[power lamp]\ntype: gpio\n")
    machine.install("--uninstall", "--no-restart")
    left = conf.read_text()
    assert left == "# first\n" + CONF.rstrip() + "\n\n[power lamp]\ntype: gpio\n"
    assert any("https://h/api.php" in path.read_text() for path in backups(conf))


def test_a_section_of_the_users_own_stays_and_is_named(machine: Machine) -> None:
    machine.moonraker()
    conf = machine.data(conf=CONF + "[tecmedhub]\nserver_url: x\n")
    machine.install("--no-restart")
    said = machine.install("--uninstall", "--no-restart")
    assert f"[tecmedhub] in {conf}" in said
    assert "server_url: x" in conf.read_text()


def test_a_lost_closing_mark_stops_before_anything_is_lost(machine: Machine) -> None:
    machine.moonraker()
    conf = machine.data()
    machine.install("--no-restart")
    conf.write_text(conf.read_text().replace("# <<< TecMedHub <<<\n", "[webcam c]\n"))
    before = conf.read_bytes()
    assert "closing mark" in machine.install("--uninstall", "--no-restart", fails=True)
    assert conf.read_bytes() == before


def test_links_modes_and_owners_of_files_stay(machine: Machine) -> None:
    machine.moonraker()
    conf = machine.data()
    real = conf.with_name("shared file.conf")
    conf.rename(real)
    conf.symlink_to(real.name)
    real.chmod(0o640)
    machine.install("--no-restart")
    assert conf.is_symlink() and sections(real) == BOTH
    assert real.stat().st_mode & 0o777 == 0o640
    machine.install("--uninstall", "--no-restart")
    assert conf.is_symlink() and real.read_text() == CONF


# -- finding Moonraker -----------------------------------------------------------------------------


def test_told_where_it_is_it_looks_nowhere_else(machine: Machine, tmp_path: Path) -> None:
    machine.moonraker(), machine.data()
    other = Machine(tmp_path / "other")
    checkout, conf = other.moonraker(), other.data("my data")
    before = files(machine.home)
    machine.install("-m", str(checkout), "-d", str(conf.parents[1]), "--no-restart")
    assert files(machine.home) == before
    assert (checkout / "moonraker" / LINK).samefile(machine.components)
    assert sections(conf) == BOTH


@pytest.mark.parametrize("given", ["package", "site-packages", "environment"])
def test_an_installed_package_needs_no_exclude_line(machine: Machine, given: str) -> None:
    environment = machine.home / "moonraker-env"
    site = environment / "lib/python3.11/site-packages"
    (site / "moonraker/components").mkdir(parents=True)
    (site / "moonraker/server.py").touch()
    git(machine.home, "init", "-q")  # dotfiles under git are none of Moonraker's business
    before = files(machine.home / ".git")
    machine.data()
    folder = {"package": site / "moonraker", "site-packages": site, "environment": environment}
    machine.install("-m", str(folder[given]), "--no-restart")
    assert (site / "moonraker" / LINK).samefile(machine.components)
    assert files(machine.home / ".git") == before
    machine.install("--uninstall", "--no-restart")  # finds it by itself, too
    assert not (site / "moonraker" / LINK).is_symlink()


def test_units_of_several_instances_that_share_one_moonraker(machine: Machine) -> None:
    checkout = machine.moonraker("src/moonraker")
    one, two = machine.data("printer_1_data"), machine.data("p2 data")
    bystander = machine.data("printer_data")
    python = machine.home / "moonraker-env/bin/python"
    me = os.popen("id -un").read().strip()
    (one.parents[1] / "systemd").mkdir()
    (one.parents[1] / "systemd/moonraker.env").write_text(
        f'MOONRAKER_DATA_PATH="{one.parents[1]}"\n'
        'MOONRAKER_ARGS="-m moonraker"\n'
        f'PYTHONPATH="{checkout}"\n'
    )
    machine.unit(
        "moonraker-1",
        f"User={me}\nEnvironmentFile={one.parents[1]}/systemd/moonraker.env\n"
        f"ExecStart={python} $MOONRAKER_ARGS\n",
    )
    (machine.home / "kiauh.env").write_text(
        f"MOONRAKER_ARGS=\"'{checkout}/moonraker/moonraker.py' -d '{two.parents[1]}'\"\n"
    )
    machine.unit(
        "moonraker-b",
        f"User={me}\nEnvironmentFile=-{machine.home}/kiauh.env\n"
        f"ExecStart={python} $MOONRAKER_ARGS\n",
    )
    # carries the name, but is another program
    machine.unit("moonraker-obico", f"User={me}\nExecStart={python} -m moonraker_obico.app\n")
    said = machine.install("--no-restart")
    assert sections(one) == sections(two) == BOTH
    assert said.count("Linked") == 1
    assert (checkout / "moonraker" / LINK).samefile(machine.components)
    assert sections(bystander) == []  # no unit starts it
    assert git(checkout, "status", "--porcelain") == ""

    machine.install("--uninstall", "--no-restart", "-d", str(one.parents[1]))
    assert sections(one) == [] and sections(two) == BOTH
    link = checkout / "moonraker" / LINK
    assert link.samefile(machine.components)  # the other one needs it
    machine.install("--uninstall", "--no-restart", "-d", str(two.parents[1]))
    assert not link.is_symlink() and git(checkout, "status", "--porcelain", "--ignored") == ""


def test_one_of_several_instances_without_units_leaves_the_others_their_link(
    machine: Machine,
) -> None:
    checkout = machine.moonraker()
    one, two = machine.data("one_data"), machine.data("two_data")
    machine.install("--no-restart")
    link = checkout / "moonraker" / LINK
    places = "-m", str(checkout)
    said = machine.install("--uninstall", "--no-restart", *places, "-d", str(one.parents[1]))
    assert sections(one) == [] and sections(two) == BOTH
    assert str(two) in said and link.samefile(machine.components)
    machine.install("--uninstall", "--no-restart", *places, "-d", str(two.parents[1]))
    assert sections(two) == [] and not link.is_symlink()


def test_a_unit_of_the_user_with_a_config_file_elsewhere(machine: Machine) -> None:
    checkout = machine.moonraker("src/mr")
    conf = machine.data()
    elsewhere = machine.home / "etc" / "my moonraker.conf"
    elsewhere.parent.mkdir()
    elsewhere.write_text(CONF)
    units = machine.home / ".config/systemd/user"
    units.mkdir(parents=True)
    (units / "moonraker.service").write_text(
        "[Service]\nExecStart=%h/env/bin/python -m moonraker --datapath=%h/printer_data"
        f' -c "{elsewhere}"\nEnvironment="PYTHONPATH=%h/src/mr"\n'
    )
    machine.install("--no-restart")
    assert sections(elsewhere) == BOTH
    assert sections(conf) == []
    assert (checkout / "moonraker" / LINK).samefile(machine.components)


def test_the_usual_folders_where_there_are_no_units(machine: Machine) -> None:
    machine.moonraker()
    confs = [machine.data(name) for name in ("printer_data", "printer_voron_data", "x1_data")]
    machine.install("--no-restart")
    assert [sections(conf) for conf in confs] == [BOTH] * 3


def test_a_worktree_keeps_its_exclude_file_elsewhere(machine: Machine) -> None:
    main = machine.moonraker("main")
    tree = machine.home / "moonraker"
    git(main, "worktree", "add", "-q", str(tree))
    machine.data()
    machine.install("--no-restart")
    assert (tree / "moonraker" / LINK).samefile(machine.components)
    assert git(tree, "status", "--porcelain") == ""
    assert EXCLUDED in (main / ".git/info/exclude").read_text()


# -- refusing --------------------------------------------------------------------------------------


def test_sudo_is_refused_before_anything_is_done(machine: Machine) -> None:
    machine.moonraker(), machine.data()
    before = files(machine.home)
    said = machine.install("--yes", fails=True, environment={"SUDO_USER": "pi"})
    assert "sudo" in said and "as pi" in said
    assert files(machine.home) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_does_not_meddle_with_another_users_moonraker(machine: Machine) -> None:
    checkout, conf = machine.moonraker(), machine.data()
    os.chown(conf, 12345, 12345)
    before = files(machine.home)
    assert "you are root" in machine.install("--no-restart", fails=True)
    os.chown(conf, 0, 0)
    os.chown(checkout / "moonraker/components", 12345, 12345)
    assert "you are root" in machine.install("--no-restart", fails=True)
    assert files(machine.home) == before


def test_root_installs_where_everything_is_roots(machine: Machine) -> None:
    """Images of printers that have no other user: SUDO_USER is not set, or is root."""
    machine.moonraker()
    conf = machine.data()
    machine.install("--no-restart", environment={"SUDO_USER": "root"})
    assert sections(conf) == BOTH


def test_a_write_protected_file_is_named_and_nothing_is_done(machine: Machine) -> None:
    machine.moonraker()
    conf = machine.data()
    conf.chmod(0o444)
    before = files(machine.home)
    assert f"chmod u+w '{conf}'" in machine.install("--no-restart", fails=True)
    assert files(machine.home) == before


def test_a_real_folder_in_the_way_is_not_touched(machine: Machine) -> None:
    checkout = machine.moonraker()
    machine.data()
    (checkout / "moonraker" / LINK).mkdir()
    before = files(machine.home)
    assert "in the way" in machine.install("--no-restart", fails=True)
    assert files(machine.home) == before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "found no Moonraker"),
        (("-m", "/nowhere"), "holds no Moonraker"),
        (("-d", "/nowhere"), "does not exist"),
        (("--purge",), "--uninstall"),
        (("--frobnicate",), "--help"),
        (("-m",), "needs a folder"),
    ],
)
def test_errors_are_one_sentence_with_a_remedy(
    machine: Machine, options: tuple[str, ...], sentence: str
) -> None:
    machine.data()
    said = machine.install(*options, fails=True)
    assert sentence in said
    assert len(said.splitlines()) == 1


def test_a_data_path_without_a_configuration(machine: Machine) -> None:
    machine.moonraker()
    machine.data().unlink()
    said = machine.install("-d", str(machine.home / "printer_data"), fails=True)
    assert "moonraker.conf does not exist" in said


def test_help_needs_no_moonraker(machine: Machine) -> None:
    assert "--uninstall" in machine.install("--help", environment={"SUDO_USER": "pi"})


# -- restarting ------------------------------------------------------------------------------------


def conf_for(running: FakeMoonraker) -> str:
    return CONF.replace("7125", str(running.port))


def test_an_idle_moonraker_is_restarted_when_told_so(
    machine: Machine, running: FakeMoonraker
) -> None:
    machine.moonraker()
    running.conf = machine.data(conf=conf_for(running))
    said = machine.install("--yes")
    assert running.restarts == 1
    assert "the plugin is loaded" in said
    machine.install("--yes")
    assert running.restarts == 1  # nothing new
    assert "the plugin is absent" in machine.install("--yes", "--uninstall")
    assert running.restarts == 2


def test_a_plugin_that_does_not_load_is_reported(machine: Machine, running: FakeMoonraker) -> None:
    machine.moonraker()
    running.conf = machine.data(conf=conf_for(running))
    running.failed = ["tecmedhub"]
    assert "could not load" in machine.install("--yes")


@pytest.mark.parametrize("state", ["printing", "paused"])
@pytest.mark.parametrize("options", [("--yes",), ("--restart",), ("--uninstall", "--yes")])
def test_never_while_printing(
    machine: Machine, running: FakeMoonraker, state: str, options: tuple[str, ...]
) -> None:
    machine.moonraker()
    machine.data(conf=conf_for(running))
    machine.install("--no-restart")
    running.print_state = state
    if "--uninstall" in options:
        running.components.append("tecmedhub")
    assert "is printing and is left alone" in machine.install(*options)
    assert running.restarts == 0


def test_not_where_moonraker_does_not_say_what_it_does(
    machine: Machine, running: FakeMoonraker
) -> None:
    machine.moonraker()
    running.conf = machine.data(conf=conf_for(running))
    running.refuses = True
    assert "does not say whether it is printing" in machine.install("--yes")
    assert running.restarts == 0


def test_unless_told_to_restart_in_any_case(machine: Machine, running: FakeMoonraker) -> None:
    machine.moonraker()
    running.conf = machine.data(conf=conf_for(running))
    running.klippy = "startup"
    assert "does not say" in machine.install("--yes")
    assert running.restarts == 0
    machine.install("--restart")
    assert running.restarts == 1


def test_without_a_terminal_nobody_is_asked_and_nothing_restarted(
    machine: Machine, running: FakeMoonraker
) -> None:
    machine.moonraker()
    running.conf = machine.data(conf=conf_for(running))
    assert "was not restarted" in machine.install()
    assert running.restarts == 0


@pytest.mark.parametrize(("answer", "restarts"), [("n\n", 0), ("\n", 1), ("y\n", 1), ("sí\n", 1)])
def test_on_a_terminal_it_asks(
    machine: Machine, running: FakeMoonraker, answer: str, restarts: int
) -> None:
    machine.moonraker()
    running.conf = machine.data(conf=conf_for(running))
    machine.install(answer=answer)
    assert running.restarts == restarts


def test_each_instance_is_asked_on_its_own_port(machine: Machine, running: FakeMoonraker) -> None:
    machine.moonraker()
    running.conf = machine.data("printer_1_data", conf=conf_for(running))
    with FakeMoonraker("printing") as busy:
        busy.conf = machine.data("printer_2_data", conf="[include port.cfg]\n" + CONF)
        (busy.conf.parent / "port.cfg").write_text("[server]\nport: 1\n")
        busy.conf.write_text(CONF.replace("port: 7125", f"port = {busy.port}  # ours"))
        machine.install("--yes")
        assert (running.restarts, busy.restarts) == (1, 0)


# -- the plugin's own data -------------------------------------------------------------------------


def test_the_plugins_data_stay_unless_purged(machine: Machine) -> None:
    machine.moonraker()
    conf = machine.data()
    own = conf.parents[1] / "tecmedhub"
    own.mkdir()
    (own / "tecmedhub.db").write_text("x")
    machine.install("--no-restart")
    machine.install("--uninstall", "--no-restart", "--yes")
    assert own.is_dir()
    assert "stays" in machine.install("--uninstall", "--purge", "--no-restart")
    assert own.is_dir()
    machine.install("--uninstall", "--purge", "--no-restart", answer="\n")
    assert own.is_dir()
    machine.install("--uninstall", "--purge", "--no-restart", answer="y\n")
    assert not own.exists()


def test_nothing_is_purged_under_a_running_plugin(machine: Machine, running: FakeMoonraker) -> None:
    machine.moonraker()
    conf = machine.data(conf=conf_for(running))
    own = conf.parents[1] / "tecmedhub"
    own.mkdir()
    machine.install("--no-restart")
    running.components.append("tecmedhub")
    said = machine.install("--uninstall", "--purge", "--yes", "--no-restart")
    assert "still uses it" in said
    assert own.is_dir()


def test_a_linked_data_folder_is_not_followed(machine: Machine, tmp_path: Path) -> None:
    machine.moonraker()
    conf = machine.data()
    precious = tmp_path / "precious"
    precious.mkdir()
    (conf.parents[1] / "tecmedhub").symlink_to(precious)
    machine.install("--uninstall", "--purge", "--yes", "--no-restart")
    assert precious.is_dir()


# -- the way to the panel --------------------------------------------------------------------------

ENTRY = {
    "title": "TecMedHub",
    "href": "/server/tecmedhub/panel",
    "target": "_blank",
    "position": 85,
}
THEIRS = '[\n  {"title": "Docs", "href": "/docs", "position": 10}\n]'


def navi(conf: Path) -> Path:
    return conf.parent / ".theme" / "navi.json"


def test_the_panel_is_added_to_mainsails_sidebar_and_taken_out_again(machine: Machine) -> None:
    machine.moonraker()
    conf = machine.data()
    before = files(machine.home)
    assert "the panel to Mainsail's sidebar" in machine.install("--yes", "--no-restart")
    assert json.loads(navi(conf).read_text()) == [ENTRY]
    assert "sidebar (" not in machine.install("--yes", "--no-restart")  # it is there
    machine.install("--uninstall", "--yes", "--no-restart")
    after = files(machine.home)
    assert {path for path in after if path not in before} == {
        str(path.relative_to(machine.home)) for path in backups(conf)
    }


@pytest.mark.parametrize("theirs", [THEIRS, THEIRS + "\n", '[{"title":"ñ","href":"/x"}]', "[]"])
def test_other_entries_of_the_sidebar_stay_byte_for_byte(machine: Machine, theirs: str) -> None:
    machine.moonraker()
    conf = machine.data()
    navi(conf).parent.mkdir()
    navi(conf).write_text(theirs)
    machine.install("--yes", "--no-restart")
    assert json.loads(navi(conf).read_text()) == [*json.loads(theirs), ENTRY]
    machine.install("--uninstall", "--yes", "--no-restart")
    assert (navi(conf).read_text() if navi(conf).exists() else "[]") == theirs


def test_a_sidebar_that_was_written_anew_since_loses_our_entry_only(machine: Machine) -> None:
    machine.moonraker()
    conf = machine.data()
    machine.install("--yes", "--no-restart")
    other = {"title": "Docs", "href": "/docs"}
    navi(conf).write_text(json.dumps([ENTRY, other], indent=4))
    machine.install("--uninstall", "--yes", "--no-restart")
    assert json.loads(navi(conf).read_text()) == [other]


@pytest.mark.parametrize("theirs", ["{", "{}", "[1]", '"x"'])
def test_a_sidebar_that_cannot_be_understood_is_left_alone(machine: Machine, theirs: str) -> None:
    machine.moonraker()
    conf = machine.data()
    navi(conf).parent.mkdir()
    navi(conf).write_text(theirs)
    machine.install("--yes", "--no-restart")
    machine.install("--uninstall", "--yes", "--no-restart")
    assert navi(conf).read_text() == theirs


@pytest.mark.parametrize("options", [["--yes", "--no-sidebar"], [], ["--yes", "--dry-run"]])
def test_the_sidebar_is_touched_only_with_a_yes(machine: Machine, options: list[str]) -> None:
    machine.moonraker()
    conf = machine.data()
    machine.install("--no-restart", *options)
    assert not navi(conf).parent.exists()


def test_it_speaks_spanish_where_the_computer_does(machine: Machine) -> None:
    machine.moonraker()
    machine.data()
    spanish = {"LANG": "es_AR.UTF-8"}
    said = machine.install("--yes", "--no-restart", environment=spanish)
    assert "Enlazado:" in said and "Agregado:" in said
    assert said.splitlines()[-1].startswith("El panel: http://")
    assert "Uso: ./install.sh" in machine.install("--help", environment=spanish)
    assert "opción desconocida --x" in machine.install("--x", fails=True, environment=spanish)
    assert "Linked" not in said and "The " not in said


def test_every_sentence_of_it_has_its_spanish() -> None:
    text = (ROOT / "install.sh").read_text(encoding="utf-8")
    table = text[text.index("declare -A SPANISH=(") : text.index("# --- The command line")]
    known = {re.sub(r"\\(.)", r"\1", key) for key in re.findall(r'^    \["(.+?)"\]=', table, re.M)}
    code = text.replace(table, "")
    calls = r'\b(?:words|say|note|die|complain|ask [yn]|report [A-Z]\w+) (["\'])(.+?)(?<!\\)\1'
    used = {re.sub(r"\\(.)", r"\1", found[1]) for found in re.findall(calls, code)}
    used -= {"%s", "$@", "$1", "${WOULD[$1]}", "${@:2}", "%s -> %s", "$state"}
    assert used - known == set()
    for key in known:
        spanish = re.search(rf'\["{re.escape(key)}"\]=(.*)$', table, re.M)
        assert spanish is None or spanish[1].count("%s") == key.count("%s"), key
