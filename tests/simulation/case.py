"""What was seen in a story, put in order for the rules of `invariants`: which script belongs to
which command, what the hub was told of each, when there was a job, a Klippy, a Moonraker.
"""

from __future__ import annotations

import itertools
import re
from typing import Any, NamedTuple

from .hub import Asked
from .story import OWN
from .witness import Fact
from .world import Seen

HEARS_WITHIN = 1.0  # seconds until the plugin has seen what happened to the printer
AT_ONCE = 1.0  # seconds
FINAL = ("done", "failed", "refused", "expired", "interrupted")
PRINTS = ("print", "print_local")
JOB_VERBS = ("pause", "resume", "cancel")
QUEUE = ("queue_start", "queue_pause", "queue_clear", "queue_remove")
BY_MOONRAKER = (*QUEUE, "power", "delete_file", "spool")  # nothing comes to Klippy
DEEDS = ("unqueued", "file gone", "spool")
LIMITS = {  # seconds; defaults of expiry.*
    **dict.fromkeys(("emergency_stop", *JOB_VERBS, "firmware_restart"), 60.0),
    **dict.fromkeys(("power", "spool", "queue_pause", "queue_clear", "queue_remove"), 60.0),
    **dict.fromkeys(("queue_start", "delete_file", *PRINTS), 600.0),
    "wave": 30.0,
}
GCODE_LIMIT = 120.0
LEVELS = {  # what security.remote_control leaves
    "print": (*JOB_VERBS, *PRINTS, *QUEUE, "cancel_download", "emergency_stop"),
    "monitor": ("emergency_stop",),
    "off": (),
}


class Span(NamedTuple):
    begin: float
    end: float

    def touches(self, begin: float, end: float) -> bool:
        return self.begin < end and begin < self.end


class Case:
    """The facts of a story, put in order once for all rules."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.house = seen.story.house
        self.asked = seen.asked
        self.place = {command.n: place for place, command in enumerate(seen.asked)}  # in the queue
        self.facts = seen.facts
        # Scripts of the plugin's, in their order: the fact that Klippy got it; when it began and
        # ended by run number.
        self.gets = [f for f in self.facts if f.who == "klippy" and f.what == "gets"]
        self.ours = [f for f in self.gets if f.data["by"] == "plugin"]
        self.begun = {f.data["run"]: f.at for f in self._klippys("begins")}
        self.ended = {f.data["run"]: f for f in self._klippys("ended")}
        self.does: dict[int, list[Fact]] = {}
        for fact in self._klippys("does"):
            self.does.setdefault(fact.data["run"], []).append(fact)
        self.sent = {
            c.n: [f for f in self.ours if matches(c, f.data["script"])] for c in self.asked
        }
        self.done_elsewhere = self._find_done_elsewhere()
        self.told = _tell(self.asked, self.facts)
        self.lives = self._spans("moonraker", ("starts",), ("is killed", "restarts"))
        self.klippys = self._spans("klippy", ("starts",), ("crashes", "restarts"))
        self.hangs = self._spans("klippy", ("hangs",), ("goes on", "crashes", "restarts"))
        self.halts = self._find_halts()
        self.unseen_crashes = self._find_unseen()
        self.jobs = self._find_jobs()
        self.storms = [
            Span(f.at, f.at + f.data["seconds"]) for f in self.facts if f.what == "weather"
        ]
        self.moves = [f.at for f in self.facts if f.what == "new database"]

    def _klippys(self, *what: str) -> list[Fact]:
        return [f for f in self.facts if f.who == "klippy" and f.what in what]

    def _spans(self, who: str, first: tuple[str, ...], last: tuple[str, ...]) -> list[Span]:
        spans, begin = [], None
        for fact in self.facts:
            if fact.who != who:
                continue
            if fact.what in last and begin is not None:
                spans.append(Span(begin, fact.at))
                begin = None
            if fact.what in first:
                begin = fact.at
        if begin is not None:
            spans.append(Span(begin, self.seen.ended + 1))
        return spans

    def _find_halts(self) -> list[tuple[float, str]]:
        """Moments after which nothing that was asked before may begin."""
        ready = [f.at for f in self._klippys("is") if f.data["state"] == "ready"]
        starts = [f.at for f in self._klippys("starts")]
        found = [
            (f.at, "a crash of Klippy")
            for f in self._klippys("crashes")  # where it had been ready long enough to be known
            if any(
                max((at for at in starts if at <= f.at), default=0.0) <= at <= f.at - HEARS_WITHIN
                for at in ready
            )
        ]
        again = [f.at for f in self._klippys("restarts")]
        for fact in self._klippys("is"):
            unseen = any(0 <= at - fact.at < 0.5 for at in again)  # nobody was told of it
            if fact.data["state"] == "shutdown" and not unseen:
                found.append((fact.at, "a shutdown"))
        return sorted(found)

    def _find_unseen(self) -> list[float]:
        """Crashes of Klippy while Moonraker was away, which had known it before for long enough."""
        met = [(s.begin + 20.0, s.end) for s in self.lives if s.end - s.begin > 30.0]
        return [
            f.at
            for f in self._klippys("crashes")
            if not any(s.begin <= f.at <= s.end for s in self.lives)
            and any(
                k.begin + 10 < end and since < end and k.begin < f.at
                for k in self.klippys
                if k.end == f.at
                for since, end in met
                if k.begin + 10 < end <= f.at
            )
            and not any(c.what == "power cut" and abs(c.at - f.at) < 0.01 for c in self.facts)
        ]

    def _find_jobs(self) -> list[tuple[Span, str, str]]:
        """When a job owned the printer: (from its begin to its end, its file, who began it)."""
        jobs, current = [], None
        for fact in self._klippys("job begins", "job ends", "crashes", "restarts", "is"):
            if fact.what == "is" and fact.data["state"] != "shutdown":
                continue
            if fact.what == "job begins":
                current = (fact.at, fact.data["file"], fact.data["by"])
            elif current is not None:
                jobs.append((Span(current[0], fact.at), current[1], current[2]))
                current = None
        if current is not None:
            jobs.append((Span(current[0], self.seen.ended + 1), current[1], current[2]))
        return jobs

    def job_at(self, at: float) -> str:
        """The job of which the plugin must know at `at`."""
        for span, name, _by in self.jobs:
            if span.begin + HEARS_WITHIN < at < span.end:
                return name
        return ""

    def printed_by_us(self, at: float) -> str:
        """A print of the plugin's own that Klippy has been given before `at`, and that is not
        over, nor was refused by Klippy."""
        for fact in self.ours:
            if (
                not 0 <= at - fact.at < 900
                or "SDCARD_PRINT_FILE" not in fact.data["script"].upper()
            ):
                continue
            ended = self.ended.get(fact.data["run"])
            if ended is not None and "error" in ended.data and ended.at < at:
                continue
            if any(fact.at < halt < at for halt, _ in self.halts) or any(
                fact.at < span.end < at for span in self.klippys
            ):
                continue
            name = _file_of(fact.data["script"])
            over = [s for s, n, _ in self.jobs if n == name and s.begin >= fact.at - 0.01]
            if (over and over[0].end < at) or (
                not over and ended is not None and ended.at + 5 < at
            ):
                continue
            if fact.at < at:
                return name
        return ""

    def alive(self, begin: float, end: float) -> bool:
        """One Moonraker lived through all of it, and had its start behind it."""
        return any(s.begin + 20 <= begin and end <= s.end for s in self.lives)

    def same_life(self, begin: float, end: float) -> bool:
        return any(s.begin <= begin and end <= s.end for s in self.lives)

    def left_no_trace(self, begin: float, end: Fact) -> bool:
        """A job began at `begin` that nobody can know of: Moonraker was not there, and when it came
        the computer had been off, somebody had put the job away by SDCARD_RESET_FILE, or it was the
        first time and Klippy's session was another."""
        if any(s.begin <= begin <= s.end - HEARS_WITHIN for s in self.lives):
            return False
        seeing = (s.begin for s in self.lives if s.begin > begin and s.end - s.begin > 2.0)
        back = min(seeing, default=begin)
        if any(f.what == "power cut" and begin <= f.at <= back for f in self.facts):
            return True
        if end.data.get("state") == "reset" and not any(
            s.begin <= end.at and begin <= s.end - HEARS_WITHIN for s in self.lives
        ):
            return True
        first = not any(s.begin <= begin for s in self.lives)
        return first and any(s.begin <= begin and s.end < back + 10 for s in self.klippys)

    def lost_address(self, at: float) -> bool:
        """The hub has moved, and a broken save came before anybody had read where."""
        changes = [f for f in self.facts if f.what in ("moves", "save broken") and f.at <= at]
        for fact, after in itertools.pairwise(changes):
            if (fact.what, after.what) == ("moves", "save broken"):
                reads = (max(fact.at, s.begin + 2) + 3 < min(after.at, s.end) for s in self.lives)
                if not any(reads):
                    return True
        return False

    def never_met(self, at: float) -> bool:
        """Klippy hung from before Moonraker's start until `at`: there was no connection to lose."""
        return any(
            hang.begin <= life.begin + 2.0 and at <= hang.end + 0.01
            for life in self.lives
            for hang in self.hangs
            if life.begin <= at <= life.end and hang.begin <= at
        )

    def met_by_none(self, hang: Span) -> bool:
        """Moonraker began while Klippy hung, and connects to it when that is over."""
        return any(hang.begin <= life.begin <= hang.end for life in self.lives)

    def fair(self, begin: float, end: float) -> bool:
        return (
            not self.lost_address(end)
            and not any(s.touches(begin, end) for s in self.storms)
            and not any(begin - 10 < m < end for m in self.moves)
        )

    def ended_at(self, run: int) -> float:
        return self.ended[run].at if run in self.ended else self.seen.ended

    def handed_out_again(self, command: Asked) -> bool:
        """Its hub keeps it until it hears of it (`features.redeliver`), and had the time for it."""
        early = bool(command.handed) and command.handed[0] < self.seen.ended - 140
        last_base = not any(m > command.handed[0] for m in self.moves) if command.handed else False
        return (
            bool(self.house["features"].get("redeliver"))
            and early
            and last_base
            and not self._mistaken(command)
        )

    def _mistaken(self, command: Asked) -> bool:
        """A database made anew has given it the id of one that was still at work, and the hub took
        that one's result for its own."""
        for fact in self.facts:
            if fact.at < command.handed[0] or str(fact.data.get("id")) != str(command.id):
                continue
            if fact.what == "is told" and fact not in self.told[command.n]:
                return True
            if fact.what == "is told again" and fact.at - fact.data["of_before"] < (
                command.handed[0] - 2.0
            ):
                return True
        return False

    def known_since(self, command: Asked) -> float:
        """The first delivery after which the process lived long enough to have noted it."""
        lasting = [
            at
            for at in command.delivered
            if self.same_life(at, at + (3.0 if self.quiet_disk(at, at + 3.0) else 60.0))
            and not self.forgotten(at)
        ]
        return lasting[0] if lasting else command.delivered[-1]

    def forgotten(self, at: float) -> bool:
        """What was noted at `at` could not be written down: the disk was full, which is told, and
        the process has died before there was space."""
        for fact in self.facts:
            if fact.what == "disk full" and fact.at - 5 < at < fact.at + fact.data["seconds"]:
                until = fact.at + fact.data["seconds"] + 20
                if any(at - 2.0 < s.end < until for s in self.lives):  # its last words may be late
                    return True
        return False

    def quiet_disk(self, begin: float, end: float) -> bool:
        return not any(
            f.at < end and begin < f.at + f.data["seconds"] + 30
            for f in self.facts
            if f.what in ("disk slow", "disk full")
        )

    def security(self, at: float) -> list[dict[str, Any]]:
        """The settings that may be in force: a save takes up to three seconds, and a start."""
        base = {"require_clear_bed": self.house["require_clear_bed"]}
        found = [base]
        changes = [f for f in self.facts if f.what in ("save", "save broken") and f.at <= at]
        for place, fact in enumerate(changes):
            until = changes[place + 1].at if place + 1 < len(changes) else at
            if fact.what == "save":
                saved = {**base, **fact.data["security"]}
                read = any(max(fact.at, s.begin + 2) + 3 < min(until, s.end) for s in self.lives)
                found = [saved] if read else [*found, saved]
        return found

    def switched_off(self, at: float) -> bool:
        """Somebody has switched remote control off, more than a moment before `at`."""
        off, kept = False, True
        for fact in self.facts:
            if fact.at > at:
                break
            if fact.what == "remote_off" and fact.at <= at - 0.1:
                off, kept = True, "doubtful" not in fact.data
            elif fact.what == "remote_on" or (not kept and _ends_moonraker(fact)):
                off = False
        return off

    def forbidden(self, command: Asked, at: float, perhaps: bool = False) -> str:
        """By what it must not be carried out at `at`; `perhaps`: by any of the settings that may be
        in force, not by all of them."""
        action = command.action
        if self.switched_off(at) and action != "emergency_stop":
            return "the switch at the printer"
        reasons = []
        for security in self.security(at):
            level = security.get("remote_control", "full")
            if action in security.get("denied_actions", ()):
                reasons.append("denied_actions")
            elif level != "full" and action not in LEVELS[level]:
                reasons.append(f"remote_control {level}")
            elif not perhaps:
                return ""
        return reasons[0] if reasons else ""

    def deeds(self, command: Asked) -> list[Fact]:
        """What Moonraker or the disk did by the plugin's hand, and this command asks for."""
        what, name = {
            "queue_remove": ("unqueued", command.params.get("job")),
            "delete_file": ("file gone", command.params.get("file")),
            "spool": ("spool", command.params.get("spool")),
        }.get(command.action, ("", None))
        return [
            f
            for f in self.done_elsewhere
            if f.what == what
            and name in (f.data.get("file"), f.data.get("id"))
            and "all" not in f.data
        ]

    def _find_done_elsewhere(self) -> list[Fact]:
        """What is done by the plugin, and not by Klippy; a file that came back is not gone."""
        found: list[Fact] = []
        for fact in self.facts:
            if fact.what == "file back":
                gone = [f for f in found if f.data.get("file") == fact.data["file"]]
                if gone:
                    found.remove(gone[-1])
            elif fact.what in DEEDS and fact.data.get("by", "plugin") == "plugin":
                found.append(fact)
        return found

    def who(self, fact: Fact) -> Asked | None:
        """The command that a script of the plugin's belongs to."""
        for command in self.asked:
            if (
                command.delivered
                and command.delivered[0] <= fact.at + 0.01
                and fact in self.sent[command.n]
            ):
                return command
        return None

    def end_of(self, command: Asked) -> tuple[Fact, str] | None:
        """The first final state that the hub was told."""
        for fact in self.told.get(command.n, ()):
            if fact.data["status"] in FINAL:
                return fact, fact.data["status"]
        return None


def _ends_moonraker(fact: Fact) -> bool:
    """Its exit may still answer, so that its next start is the end of what it has not stored."""
    return fact.what in ("is killed", "restarts") or (
        (fact.who, fact.what) == ("moonraker", "starts")
    )


def matches(command: Asked, script: str) -> bool:
    """Whether this script carries out this command. Scripts that look alike match all of their
    kind: pause, resume, cancel, fans."""
    text = script.upper()
    params = command.params
    action = command.action
    if action in PRINTS:
        return "SDCARD_PRINT_FILE" in text and _file_of(script) == params["file"]
    if action == "macro":
        return bool(re.search(rf"\bN={params['params']['N']}\b", text))
    if action == "wave":
        return text.startswith("MOVE_AWAY") and bool(re.search(rf"\bN={params['N']}\b", text))
    if action in OWN:
        return re.search(rf"\bN{params['tag']}\b", text) is not None
    if action in ("move", "extrude", "retract"):
        return _moves(action, params, text)
    if action == "set_pin":
        return text == f"SET_PIN PIN=LAMP VALUE={params['value']}"
    if action == "led":
        wanted = f"SET_LED LED={params['led']} RED={params['red']:g} ".upper()
        return text.startswith(wanted)
    if action == "exclude_object":
        return text == f"EXCLUDE_OBJECT NAME={params['object']}".upper()
    if action == "z_offset":
        wanted = "SAVE_CONFIG" if "save" in params else f"Z_ADJUST={params['step']:g} "
        return wanted in text
    if action == "gcode":
        return re.search(rf"\bN{command.n}\b", text) is not None
    if re.search(r"\bM117 N\d", text):
        return False  # a script of `gcode`
    if action == "heat":
        wanted = [float(v) for v in params.values()]
        return any(
            float(v) == w
            for v in re.findall(r"TARGET=([\d.]+)|M1[04][490] S([\d.]+)", text)
            for v in v
            if v
            for w in wanted
        )
    if action.startswith("home"):
        axis = action[5:].upper()
        return text.strip() == f"G28 {axis}".strip() or (not axis and text.strip() == "G28 X Y Z")
    exact = {
        "cool_down": "TURN_OFF_HEATERS",
        "pause": "PAUSE",
        "resume": "RESUME",
        "cancel": "CANCEL_PRINT",
        "emergency_stop": "EMERGENCY_STOP",
        "firmware_restart": "FIRMWARE_RESTART",
    }
    if action in exact:
        return text.strip() == exact[action]
    if action in ("set_speed", "set_flow"):
        code = "M220" if action == "set_speed" else "M221"
        value = params["speed" if action == "set_speed" else "flow"]
        found = re.fullmatch(rf"{code} S([\d.]+)", text.strip())
        return found is not None and float(found.group(1)) == value
    return False


def _moves(action: str, params: dict[str, Any], text: str) -> bool:
    found = re.search(r"SAVE_GCODE_STATE.*\nG1 ([XZE])(-?[\d.]+) F([\d.]+)", text, re.DOTALL)
    if found is None or float(found.group(3)) != params["speed"] * 60:
        return False
    axis, way = found.group(1), float(found.group(2))
    if action == "move":
        return axis == ("X" if "x" in params else "Z") and (axis == "Z" or way == params["x"])
    return axis == "E" and way == (params["length"] if action == "extrude" else -params["length"])


def known_again(command: Asked) -> bool:
    """Whether its script is like no other command's."""
    return command.action not in (*JOB_VERBS, *BY_MOONRAKER, "emergency_stop", "move")


def _file_of(script: str) -> str:
    found = re.search(r'FILENAME="?([^"\n]+)"?', script, re.IGNORECASE)
    return found.group(1).strip() if found else ""


def _tell(asked: list[Asked], facts: list[Fact]) -> dict[int, list[Fact]]:
    """What the hub was told of each command. An id is the last command's that had it, unless the
    result is of something received before that."""
    told: dict[int, list[Fact]] = {command.n: [] for command in asked}
    for fact in facts:
        if fact.what != "is told":
            continue
        bearers = [
            c
            for c in asked
            if str(c.id) == str(fact.data["id"]) and c.delivered and c.delivered[0] <= fact.at
        ]
        fitting = [c for c in bearers if c.action == fact.data["action"]] or bearers
        if len(fitting) > 1:
            received = fact.data.get("received_at")
            by_time = [c for c in fitting if received is not None and _apart(c, received, fact) < 5]
            if by_time:
                fitting = [min(reversed(by_time), key=lambda c: _apart(c, received, fact))]
        if fitting:
            told[fitting[-1].n].append(fact)
    return told


def _apart(command: Asked, received: float, fact: Fact) -> float:
    """Seconds between what a result says of its command's arrival, and this one's."""
    hub_then = fact.data["hub_now"] - fact.at + command.delivered[0]
    return float(abs(hub_then - received))
