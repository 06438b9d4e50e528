"""Each rule refuses on its side of the edge only, and says why."""

from __future__ import annotations

from typing import Any

import pytest

from components.commands import policy
from components.commands.actions import ACTIONS
from components.commands.gcode import Refused
from components.commands.policy import NotYet
from components.commands.situation import Coming, Situation
from components.commands.wire import Command, Reader
from components.printer.snapshot import KlippyState, Snapshot
from components.printer.verbs import JobQueue
from components.settings.model import Expiry, RemoteControl, Security
from tests.unit.commands.support import objects, printing, ready

NOW = 1_700_000_000.0


def command(action: str, **params: Any) -> Command:
    item = {"id": 1, "action": action, **params}
    return Reader("s", "T", lambda: "x").read(item, 1, NOW)


def refusal(asked: Command, situation: Situation) -> str:
    """Why it may not run now; "" if it may; "not yet: …" if it has to wait."""
    try:
        policy.judge(asked, situation, "x.gcode")
    except Refused as reason:
        return str(reason)
    except NotYet as reason:
        return f"not yet: {reason}"
    return ""


def judge(
    action: str, snapshot: Snapshot | None = None, security: Security | None = None, **params: Any
) -> str:
    situation = Situation(security or Security(), snapshot or ready())
    return refusal(command(action, **params), situation)


@pytest.mark.parametrize(
    ("action", "name", "low", "high"),
    [
        ("set_speed", "speed", 50, 200),
        ("set_flow", "flow", 75, 125),
        ("set_fan", "speed", 0, 255),
        ("heat", "hotend_temp", 0, 250),
        ("heat", "bed_temp", 0, 130),
    ],
)
def test_bounds_on_both_sides_of_both_edges(
    action: str, name: str, low: float, high: float
) -> None:
    for value in (low, high, str(low), float(high)):
        assert judge(action, **{name: value}) == ""
    for value in (low - 0.1, high + 0.1, low - 1, str(high + 1), 1e9):
        assert "out of range" in judge(action, **{name: value})
    for value in ("abc", [1], True, float("nan"), "1e999"):
        assert "no number" in judge(action, **{name: value})
    if action != "heat":
        assert "missing" in judge(action)


@pytest.mark.parametrize(
    ("line", "low", "high"),
    [
        ("M220 S{}", 50, 200),
        ("M220.1 S{}", 50, 200),
        ("M106.1 S{}", 0, 255),
        ("M104.1 S{}", 0, 250),
        ("M204 S{}", 100, 3000),
        ("M204 P500 T{}", 100, 3000),
        ("M204.1 P{} T500", 100, 3000),
        ("SET_VELOCITY_LIMIT VELOCITY=100 ACCEL={}", 100, 3000),
    ],
)
def test_gcode_meets_the_bounds_of_what_it_asks_for(line: str, low: int, high: int) -> None:
    machine = ready().machine
    renamed = {f"{word}.1": word for word in ("M220", "M106", "M104", "M204")}
    printer = ready(
        machine=machine._replace(
            settings={"printer": {"max_accel": 3000.0}},
            templates=machine.templates._replace(renamed=renamed),
        )
    )
    security = Security(allowed_gcode_patterns=("M*", "SET_*"))
    for value in (low, high):
        assert judge("gcode", printer, security, gcode=line.format(value)) == ""
    for value in (low - 1, high + 1, 900_000):
        assert "out of range" in judge("gcode", printer, security, gcode=line.format(value))


def test_an_acceleration_waits_for_printer_cfg_and_in_a_job_for_a_confirmation() -> None:
    assert "max_accel" in judge("gcode", gcode="M204 S1000")
    known = ready().machine._replace(settings={"printer": {"max_accel": 50.0}})
    assert judge("gcode", ready(machine=known), gcode="M204 S50") == ""
    job = printing()._replace(machine=known)
    assert "how fast the head may go" in judge("gcode", job, gcode="M204 S50")
    assert judge("gcode", job, gcode="M204 S50", confirm=True) == ""


def preset(text: str, snapshot: Snapshot | None = None, **params: Any) -> str:
    """The script that a heat comes to, or why it is refused."""
    situation = Situation(Security(), snapshot or ready(), heat_preset=text)
    try:
        return policy.judge(command("heat", **params), situation).script
    except Refused as reason:
        return str(reason)


def test_a_heat_without_any_parameter_is_the_preset() -> None:
    hotend = "SET_HEATER_TEMPERATURE HEATER=extruder TARGET="
    bed = "SET_HEATER_TEMPERATURE HEATER=heater_bed TARGET="
    assert preset("200/60") == f"{hotend}200\n{bed}60"
    assert preset(" 215 / ") == f"{hotend}215"
    assert preset("/60") == f"{bed}60"
    no_bed = ready(heaters={"extruder": ready().heaters["extruder"]})
    assert preset("200/60", no_bed) == f"{hotend}200"
    assert preset("200/60", hotend_temp=100) == f"{hotend}100"
    assert "names no heater" in preset("")
    assert "names no heater" in preset("200/60", hotend=210)  # misspelt: nothing is guessed
    assert "commands.heat_preset (hot)" in preset("hot")
    assert "out of range" in preset("500/60")


def test_heat_touches_only_the_heaters_named() -> None:
    assert "names no heater" in judge("heat")
    assert "names no heater" in judge("heat", hotend_temp="", bed_temp=None)
    no_bed = ready(heaters={"extruder": ready().heaters["extruder"]})
    assert "no heated bed" in judge("heat", no_bed, bed_temp=60)
    assert judge("heat", no_bed, hotend_temp=200) == ""
    unknown = ready(heaters={"extruder": ready().heaters["extruder"]._replace(max_temp=0.0)})
    assert "not known yet" in judge("heat", unknown, hotend_temp=200)


DANGEROUS = [
    "home",
    "home_x",
    "home_y",
    "home_z",
    "cool_down",
    "firmware_restart",
    "reboot",
    "shutdown",
]


@pytest.mark.parametrize("action", DANGEROUS)
@pytest.mark.parametrize("state", ["printing", "paused"])
def test_dangerous_actions_need_a_confirmation_while_a_job_runs(action: str, state: str) -> None:
    assert "confirm: true" in judge(action, printing(state))
    assert judge(action, printing(state), confirm=True) == ""
    assert judge(action, printing(state), Security(validate_dangerous_commands=False)) == ""
    assert judge(action, printing("complete")) == ""


@pytest.mark.parametrize("script", ["G1 X5", "g28", "M84", "T1", "M104 S200\nG92 E0", "G91", "M24"])
def test_moving_gcode_needs_a_confirmation_while_a_job_runs(script: str) -> None:
    assert "confirm: true" in judge("gcode", printing(), gcode=script)
    assert judge("gcode", printing(), gcode=script, confirm=True) == ""
    assert judge("gcode", gcode=script) == ""


@pytest.mark.parametrize("script", ["M104 S200", "M106 S100", "M220 S90", "M117 G1 X5", "M105"])
def test_harmless_gcode_runs_during_a_job(script: str) -> None:
    assert judge("gcode", printing(), gcode=script) == ""


@pytest.mark.parametrize("action", sorted(set(ACTIONS) - set(DANGEROUS)))
def test_no_other_action_asks_for_a_confirmation(action: str) -> None:
    params = {"speed": 100, "flow": 100, "hotend_temp": 200, "gcode": "M105", "macro_name": "PARK"}
    assert "confirm" not in judge(action, printing(), **params, file="x.gcode", queue=True)


def test_firmware_restart_of_a_stopped_printer_needs_no_confirmation() -> None:
    stopped = printing()._replace(klippy=KlippyState.SHUTDOWN)
    assert judge("firmware_restart", stopped) == ""


@pytest.mark.parametrize(
    ("level", "allowed"),
    [
        (RemoteControl.FULL, set(ACTIONS)),
        (
            RemoteControl.PRINT,
            {
                "pause",
                "resume",
                "cancel",
                "print",
                "print_local",
                "cancel_download",
                "emergency_stop",
                *("queue_start", "queue_pause", "queue_clear", "queue_remove"),
            },
        ),
        (RemoteControl.MONITOR, {"emergency_stop"}),
        (RemoteControl.OFF, set()),
    ],
)
def test_remote_control_levels(level: RemoteControl, allowed: set[str]) -> None:
    situation = Situation(Security(remote_control=level), ready())
    for action in ACTIONS:
        asked = command(action, speed=100, flow=100, spool=3, file="x.gcode", confirm=True)
        try:
            policy.check_arrival(asked, situation)
            reason = ""
        except Refused as error:
            reason = str(error)
        assert (reason == "") == (action in allowed), (action, reason)
        if reason:
            assert level.value in reason


def test_the_kill_switch_leaves_the_emergency_stop() -> None:
    off = Situation(Security(), ready(), switched_off_by="Ana")
    assert "Ana" in refusal(command("pause", confirm=True), off)
    assert refusal(command("emergency_stop"), off) == ""


def test_denied_actions() -> None:
    security = Security(denied_actions=("Home*", "gcode"))
    assert "denied" in judge("home_x", security=security)
    assert "denied" in judge("gcode", security=security, gcode="M105")
    assert judge("cool_down", security=security) == ""


def test_another_printers_token() -> None:
    assert "another printer" in judge("home", token="OTHER")
    assert judge("home", token="T") == ""


@pytest.mark.parametrize("state", [s for s in KlippyState if s is not KlippyState.READY])
def test_klippy_must_be_ready_for_whatever_needs_it(state: KlippyState) -> None:
    gone = ready()._replace(klippy=state, message="MCU 'mcu' shutdown: Timer too close")
    for action in ("home", "pause", "gcode", "print", "macro"):
        reason = judge(action, gone, gcode="G28", file="x.gcode", macro_name="PARK")
        assert "Timer too close" in reason
        assert state.value in reason
    for action in (
        "emergency_stop",
        "firmware_restart",
        "reboot",
        "shutdown",
        "cancel_download",
        "snapshot",
    ):
        assert judge(action, gone) == ""


def test_nothing_to_pause_resume_or_cancel() -> None:
    for action in ("pause", "resume", "cancel"):
        assert "nothing to" in judge(action)
        assert judge(action, printing()) == ""
        assert judge(action, printing("paused")) == ""


@pytest.mark.parametrize("action", ["print", "print_local"])
def test_a_busy_printer_prints_nothing_else(action: str) -> None:
    assert judge(action, file="x.gcode") == ""
    assert "busy" in judge(action, printing(), file="x.gcode")
    assert "part.gcode" in judge(action, printing("paused"), file="x.gcode", confirm=True)
    assert judge(action, printing(), file="x.gcode", queue=True) == ""
    assert "names no file" in judge(action)


@pytest.mark.parametrize(
    "name", ["../x.gcode", "/x.gcode", "a/../x.gcode", "a//x.gcode", "x\n.gcode", 'x".gcode']
)
def test_local_paths_stay_below_the_gcodes_folder(name: str) -> None:
    assert judge("print_local", file=name)
    assert judge("print_local", file="labs/x.gcode") == ""


def test_the_bed_must_be_clear_where_the_operator_wants_it() -> None:
    wanted, other = Security(require_clear_bed=True), Security()
    for needs, security, refused in (
        (True, wanted, True),
        (False, wanted, False),
        (True, other, False),
    ):
        situation = Situation(security, ready(), bed_needs_clearing=needs)
        assert bool(refusal(command("print", file="x.gcode"), situation)) == refused
        assert bool(refusal(command("gcode", gcode="M24"), situation)) == refused
        assert refusal(command("home"), situation) == ""
    queued = Situation(wanted, printing())
    assert "on top" in refusal(command("print", file="x.gcode", queue=True), queued)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("PARK", ""),
        ("park", ""),
        ("_HIDDEN", "hidden"),
        ("NO_SUCH", "no gcode_macro"),
        ("M112", "emergency_stop"),
        ("", "missing"),
        ("G28", "no gcode_macro"),
    ],
)
def test_macros_must_exist_and_be_visible(name: str, said: str) -> None:
    reason = judge("macro", macro_name=name)
    assert (said in reason) if said else reason == ""


def test_allowed_macros() -> None:
    security = Security(allowed_macros=("load_*",))
    assert "allowed_macros" in judge("macro", security=security, macro_name="PARK")
    assert judge("macro", security=security, macro_name="LOAD_FILAMENT", params={"TEMP": 210}) == ""
    assert "list" in judge("macro", macro_name="PARK", params={"A": [1]})
    assert "no object" in judge("macro", macro_name="PARK", params="x")


def test_gcode_is_filtered() -> None:
    assert "allowed_gcode_patterns" in judge("gcode", gcode="SET_PIN PIN=a")
    assert "emergency_stop" in judge("gcode", gcode="M112")
    assert "missing" in judge("gcode")
    assert "missing" in judge("gcode", gcode=["G28"])


def test_unknown_and_unreadable() -> None:
    assert "unknown" in judge("format_disk")
    assert "no part fan" in judge("toggle_fan", ready(fan_speed=None))


@pytest.mark.parametrize(
    ("action", "limit"),
    [
        ("emergency_stop", 60),
        ("pause", 60),
        ("reboot", 60),
        ("heat", 120),
        ("macro", 120),
        ("print", 600),
    ],
)
def test_expiry_by_class(action: str, limit: float) -> None:
    sent = command(action, timestamp=NOW - limit)
    assert policy.expiry(sent, Expiry(), NOW) == ""
    assert "too old" in policy.expiry(sent, Expiry(), NOW + 1)
    assert policy.expiry(sent, Expiry(0, 0, 0, 0), NOW + 1e9) == ""
    future = command(action, timestamp=NOW + 1e9)
    assert policy.expiry(future, Expiry(), NOW) == ""
    undated = command(action)
    assert policy.expiry(undated, Expiry(), NOW + limit) == ""
    assert "too old" in policy.expiry(undated, Expiry(), NOW + limit + 1)


def test_every_refusal_names_a_remedy_or_a_setting() -> None:
    """One sentence or two, ended; nothing of Python's in it."""
    reasons = [
        judge("set_speed", speed=1),
        judge("home", printing()),
        judge("print", printing(), file="x.gcode"),
        judge("gcode", gcode="SET_PIN A=1"),
        judge("macro", macro_name="NO"),
        judge("home", ready()._replace(klippy=KlippyState.ERROR, message="bad config")),
    ]
    for reason in reasons:
        assert reason.endswith(".")
        assert "None" not in reason
        assert "\n" not in reason


@pytest.mark.parametrize(
    ("word", "states"),
    [
        ("PAUSE", {"printing"}),
        ("RESUME", {"paused"}),
        ("CANCEL_PRINT", {"printing", "paused"}),
    ],
)
def test_the_words_of_a_job_pass_where_the_actions_would_send_them(
    word: str, states: set[str]
) -> None:
    """A PAUSE without a job stays in Klipper: the RESUME of the next job drives to that place."""
    security = Security(allowed_gcode_patterns=("*",))
    for state in ("printing", "paused"):
        said = judge("gcode", printing(state), security, gcode=f"M117 x\n{word}", confirm=True)
        assert (said == "") is (state in states)
    for idle in (ready(), adjusting()):
        for asked in ({"gcode": word}, {"gcode": f"{word.lower()} X=1"}):
            assert "means a job that is" in judge("gcode", idle, security, confirm=True, **asked)
    known = ready(macros=frozenset((word,)))
    assert "means a job that is" in judge("macro", known, security, macro_name=word)
    machine = ready().machine
    templates = machine.templates._replace(renamed={f"{word}_BASE": word})
    known = ready(machine=machine._replace(templates=templates))
    assert "means a job that is" in judge("gcode", known, security, gcode=f"{word}_BASE")


def adjusting() -> Snapshot:
    return ready(objects=objects(manual_probe={"is_active": True}))


def test_a_queue_is_not_started_under_the_hands_of_a_person() -> None:
    asked = command("print", file="x.gcode", queue=True)
    waits = JobQueue("ready", 1, True)
    for snapshot, refused in ((ready(), False), (adjusting(), True)):
        situation = Situation(Security(), snapshot, queue=waits)
        assert ("adjusts the printer by hand" in refusal(asked, situation)) is refused
    order = policy.judge(asked, Situation(Security(), ready(), queue=waits), "x.gcode")
    assert order.alone, "it waits for nobody's script in Klippy's queue"


@pytest.mark.parametrize(
    ("action", "params"),
    [("cancel", {}), ("resume", {}), ("home", {"confirm": True}), ("pause", {})],
)
def test_what_was_asked_of_one_job_is_not_done_to_the_next(
    action: str, params: dict[str, Any]
) -> None:
    state = "paused" if action == "resume" else "printing"
    snapshot = printing(state)
    job = snapshot.job._replace(total_duration=10.0)
    snapshot = snapshot._replace(job=job)
    for age, of_hub, harmless in ((12.0, False, True), (20.0, False, False), (20.0, True, True)):
        situation = Situation(Security(), snapshot, age=age, job_of_hub=of_hub)
        said = refusal(command(action, **params), situation)
        wanted = harmless or action == "pause"
        assert ("meant for this job" not in said) is wanted
        assert (said == "") is wanted


def test_a_cancel_means_the_print_that_waits_where_somebody_elses_job_began_since() -> None:
    snapshot = printing("printing")
    snapshot = snapshot._replace(job=snapshot.job._replace(total_duration=10.0))
    for age, mine in ((20.0, False), (5.0, True)):
        now = Situation(Security(), snapshot, age=age, coming=(Coming("waits.gcode"),))
        order = policy.judge(command("cancel"), now)
        assert order.strikes and (order.verb != "") is mine
        assert ("waits.gcode before it began" in order.done(snapshot)) is not mine
