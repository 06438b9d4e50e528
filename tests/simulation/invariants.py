"""What must be true of every story, judged by what was seen at Klippy's door and at the hub's.

Written from the documentation (docs/commands.md), independently of the rules of the plugin: nothing
here is imported from `components`. Where the plugin could not have known better (the printer's
state is a quarter of a second old when it hears of it; a reply may be lost with the process), a
rule says so. Each function of `INVARIANTS` yields sentences.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .case import (
    AT_ONCE,
    BY_MOONRAKER,
    FINAL,
    GCODE_LIMIT,
    HEARS_WITHIN,
    JOB_VERBS,
    LIMITS,
    PRINTS,
    Case,
    known_again,
)
from .elsewhere import (
    an_object_of_its_job,
    ends_truly,
    known_deeds,
    nothing_else_goes,
)
from .hub import Asked
from .klippy_gcode import LAMP_SCALE
from .story import OWN
from .witness import Fact
from .world import Seen

ALLOWED_PINS = ("lamp", "strip")  # security.allowed_pins of each house
CANCELS = ("CANCEL_PRINT", "SDCARD_RESET_FILE", "CANCEL_PRINT\nSDCARD_RESET_FILE")


class Violation(NamedTuple):
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


# The rules


def disturbs(fact: Fact, case: Case) -> str:
    """What in a script of the plugin's moves, cools or holds, by its plain words; macros are
    limited by security.allowed_macros instead."""
    for line in fact.data["script"].upper().split("\n"):
        word = line.split()[0] if line.split() else ""
        if word in ("G28", "G0", "G1", "G2", "G3"):
            return "moves"
        if word == "SET_GCODE_OFFSET":
            return "shifts"
        if word == "EXCLUDE_OBJECT":
            return "leaves an object out"
        if word == "SAVE_CONFIG":
            return "ends everything"
        if word in ("M84", "M18"):
            return "lets the motors go"
        if word == "TURN_OFF_HEATERS":
            return "cools"
        if word in ("FIRMWARE_RESTART", "RESTART"):
            return "ends everything"
        numbers = [float(v) for v in re.findall(r"(?:S|P|TARGET=)([\d.]+)", line)]
        if word in ("M104", "M140", "M109", "M190", "SET_HEATER_TEMPERATURE") and numbers:
            if numbers[-1] < 60 and not ("BED" in line or word in ("M140", "M190")):
                return "cools"
            if numbers[-1] == 0:
                return "cools"
        if word == "G4" and numbers and numbers[0] > (1000 if " P" in line else 1):
            return "holds the head"
    return ""


def nothing_disturbs_a_job(case: Case) -> Iterator[str]:
    """I1: nothing that moves, cools or holds reaches a job, or a calibration, without confirm."""
    for fact in case.ours:
        command = case.who(fact)
        if command is None or command.confirm or command.action in ("macro", *PRINTS, *JOB_VERBS):
            continue
        if command.action == "emergency_stop":
            continue
        why = disturbs(fact, case)
        if OWN.get(command.action, {}).get("danger"):
            why = "was marked as dangerous, and runs"
        if command.action == "wave":
            why = "moves"  # its macro does
        job = case.job_at(fact.at) or case.printed_by_us(fact.at)
        if why and job:
            yield f"{command} {why} during the job {job} at {fact.at:.1f} s"
        elif why and _probing(fact, case) and command.action != "firmware_restart":
            yield f"{command} {why} during a calibration at {fact.at:.1f} s"
    for fact in case.ours:
        job = case.job_at(fact.at)
        if "SDCARD_PRINT_FILE" in fact.data["script"] and job:
            yield f"a print is begun on top of the job {job} at {fact.at:.1f} s"
        for done in case.does.get(fact.data["run"], ()):
            if done.data["deed"] == "factor":
                low, high = (0.5, 2.0) if done.data["of"] == "M220" else (0.75, 1.25)
                if not low <= done.data["value"] <= high:
                    yield f"the speed or flow is set to {done.data['value']:.0%} at {done.at:.1f} s"
    yield from _within_bounds(case)
    yield from an_object_of_its_job(case)
    for fact in case.facts:
        if fact.what == "power off" and case.job_at(fact.at) and not _stops_before(fact.at, case):
            yield f"the printer's power goes off in the job {case.job_at(fact.at)}"


def _probing(fact: Fact, case: Case) -> bool:
    """Somebody has been calibrating for so long that it is known."""
    begun = [
        case.begun[f.data["run"]]
        for f in case.gets
        if "MANUAL_PROBE" in f.data["script"] and f.data["run"] in case.begun
    ]
    last = max((at for at in begun if at <= fact.at), default=fact.at)
    return bool(fact.data.get("probing")) and fact.at - last > HEARS_WITHIN


def _within_bounds(case: Case) -> Iterator[str]:
    """What printer.cfg and the operator's own bounds allow."""
    for fact in case.ours:
        command = case.who(fact)
        for done in case.does.get(fact.data["run"], ()):
            data, own = done.data, command is not None and command.action in OWN
            wrong = {
                "moves": not 0 <= data.get("x", 0) <= (50 if own else 200)
                or abs(data.get("e", 0)) > 50,
                "lights": not 0 <= data.get("value", 0) * LAMP_SCALE <= (50 if own else 1000),
                "lifts": abs(data.get("step", 0)) > 0.1,
                "glows": not all(0 <= value <= 1 for value in data.get("colours", ())),
            }
            if wrong.get(data["deed"]):
                yield f"{fact.data['script']!r} is out of bounds at {done.at:.1f} s"


def _stops_before(at: float, case: Case) -> list[float]:
    stops = [c for c in case.asked if c.action == "emergency_stop"]
    return [d for c in stops for d in c.delivered if 0 < at - d < 15]


def each_command_ends_truly(case: Case) -> Iterator[str]:
    """I2: each command delivered ends in one final state, runs at most once, and what was told is
    what happened, for ever after."""
    yield from _handed_to_the_busy(case)
    for command in case.asked:
        if not command.delivered:
            if command.handed and not _lost_fairly(command, case):
                yield f"{command} was handed to nobody who listened, and never again"
            continue
        yield from _one_end(command, case)
        if known_again(command):
            yield from _once(command, case)
        end = case.end_of(command)
        if end is not None and not case.forgotten(end[0].at):
            yield from _true_end(command, *end, case)


def _handed_to_the_busy(case: Case) -> Iterator[str]:
    """A print that waits in Klippy's own queue can no longer be taken back, nor expire."""
    for fact in case.ours:
        if "SDCARD_PRINT_FILE" not in fact.data["script"]:
            continue
        for run, began in case.begun.items():
            ended = case.ended.get(run)
            over = ended is not None and ended.at <= fact.at
            if began < fact.at - HEARS_WITHIN and not over and _same_klippy(case, began, fact.at):
                yield f"a print was handed at {fact.at:.1f} s to a Klippy busy since {began:.1f} s"


def _same_klippy(case: Case, begin: float, end: float) -> bool:
    return any(s.begin <= begin and end <= s.end for s in case.klippys)


def _queued_truly(command: Asked, told: Fact, case: Case) -> Iterator[str]:
    """A print that went into Moonraker's job queue: what was said of its begin is so."""
    said, at, file = str(told.data["message"]), told.at, command.params["file"]
    begins = [s.begin for s, name, by in case.jobs if name == file and by == "queue"]
    started = [f for f in case.facts if f.what == "queue started"]
    if "does not start by itself" in said and not case.house["automatic_queue"]:
        for begin in begins:
            if not any(at - 30 < f.at <= begin for f in started):
                yield f"{command} was told not to start by itself, and did at {begin:.1f} s"
    put = [f.at for f in case.facts if f.what == "queued" and f.data["file"] == file]
    if any(f.what == "unqueued" and f.data["file"] == file for f in case.facts):
        return  # it does not wait there any more
    if not put or "in the job queue" not in said:
        return
    if "has been started" in said:
        if not any(f.data["by"] == "plugin" and abs(f.at - put[-1]) < 1 for f in started):
            yield f"{command} was told that its queue was started, and it was not"
        began = any(put[-1] <= s.begin < put[-1] + 20 for s, _, _ in case.jobs)
        if not began and _left_alone(case, put[-1], put[-1] + 20):
            yield f"{command} was told that its queue was started, and nothing began"
    elif "when the jobs before it are complete" in said:
        ends = [f for f in case.facts if f.what == "job ends" and f.at > at]
        if not ends or ends[0].data["state"] != "complete":
            return
        end = ends[0].at
        began = any(end <= s.begin < end + 20 for s, _, by in case.jobs if by == "queue")
        if not began and case.same_life(put[-1], end) and _left_alone(case, end - 1, end + 20):
            yield f"{command} waits in a queue that did not go on at {end:.1f} s"


def _left_alone(case: Case, begin: float, end: float) -> bool:
    """Klippy ran, had nothing to do for anybody, and nobody touched the queue."""
    if not case.same_life(begin, end) or not _ready_through(case, begin, end):
        return False
    if any(s.touches(begin, end) for s in case.hangs):
        return False
    if any(begin < f.at < end and f.data["script"] and f.data["by"] != "queue" for f in case.gets):
        return False
    return not any(case.begun[run] < begin < case.ended_at(run) for run in case.begun)


def _lost_fairly(command: Asked, case: Case) -> bool:
    """Its reply was cut, or on its way when the process was killed or had its time over; a hub that
    hands out again has brought it nevertheless.
    """
    if case.handed_out_again(command):
        return False
    for fact in case.facts:
        if fact.what == "lost" and fact.data["n"] == command.n:
            if fact.data["why"] == "nobody listens":
                # The connection was left open by a process that had ended more than a moment ago.
                return any(0 <= command.handed[-1] - s.end < 1.0 for s in case.lives)
            return True
    return True


def _one_end(command: Asked, case: Case) -> Iterator[str]:
    ends = []
    for fact in case.told[command.n]:
        if fact.data["status"] in FINAL and fact.data["status"] not in ends:
            ends.append(fact.data["status"])
    stop_again = command.action == "emergency_stop" and any(
        late - early > 10.0 or not case.same_life(early, late)
        for early, late in itertools.pairwise(command.delivered)
    )  # which is a stop of its own
    if (
        len(ends) > 1
        and not stop_again
        and not any(case.forgotten(fact.at) for fact in case.told[command.n])
    ):
        yield f"{command} was told as {' and then as '.join(ends)}"
    if not ends and not _excused(command, case):
        yield f"{command}, delivered at {command.delivered[0]:.1f} s, was never told an end"


def _excused(command: Asked, case: Case) -> bool:
    """Its hub is gone, or the process died so soon that it was never written down."""
    first = command.delivered[0]
    if any(m > first for m in case.moves) or first > case.seen.ended - 40:
        return True
    if _like_one_before(command, case):
        return True
    if not case.same_life(first, first + 3.0):
        return not case.handed_out_again(command)
    # Where the disk took nothing, its end was told from memory, which died with the process.
    return not case.quiet_disk(first, first + 1) and not case.same_life(first, case.seen.ended)


def _like_one_before(command: Asked, case: Case) -> bool:
    """A database made anew has given its id to the very same words within ten minutes: that is
    taken for a repetition (a stop's within ten seconds only)."""
    within = 10.0 if command.action == "emergency_stop" else 600.0
    return any(
        other.n != command.n
        and other.id == command.id
        and (other.action, other.params) == (command.action, command.params)
        and 0 <= command.delivered[0] - at < within
        for other in case.asked
        for at in other.delivered
    )


def _once(command: Asked, case: Case) -> Iterator[str]:
    sent = case.sent[command.n]
    for early, late in itertools.pairwise(sent):
        if late.at - early.at < 590 and not case.forgotten(early.at):
            yield f"{command} ran at {early.at:.1f} s and again at {late.at:.1f} s"


def _true_end(command: Asked, told: Fact, status: str, case: Case) -> Iterator[str]:
    at = told.at
    first = command.delivered[0]
    if command.action in JOB_VERBS:
        yield from _true_verb(command, told, status, case)
        return
    sent = case.sent[command.n]
    if command.action == "emergency_stop":
        if status == "done":
            halts = [h for h, _ in case.halts]
            offs = [f.at for f in case.facts if f.what == "power off"]
            # Where Klippy hangs, what was switched off for a stop before is off still.
            since = min([first - 0.5, *(s.begin for s in case.hangs if s.begin <= first <= s.end)])
            halted = any(first - 0.5 <= h <= at for h in halts)
            halted = halted or any(since <= off <= at for off in offs)
            if not halted and _ready_through(case, first, at):
                yield f"{command} was told done, and Klippy went on"
        return
    if command.action == "firmware_restart":
        if status == "done" and not any(first <= s.begin <= at for s in case.klippys):
            yield f"{command} was told done before it happened"
        return
    if status == "expired":
        yield from _late_indeed(command, told, case)
    if status == "refused" and case.same_life(first, at):
        yield from _in_its_order(command, told, case)
    if status in ("refused", "expired") and known_again(command):
        for fact in sent:
            yield f"{command} was told {status}, and Klippy got it at {fact.at:.1f} s"
    if command.action in PRINTS:
        began = [
            s.begin
            for s, name, by in case.jobs
            if name == command.params["file"] and by in ("plugin", "queue")
        ]
        queue = status == "done" and "job queue" in str(told.data["message"])
        if queue:
            yield from _queued_truly(command, told, case)
        elif status == "done" and not any(b <= at for b in began):
            yield f"{command} was told done, and had not begun"
        in_klippy = status == "interrupted" and any(f.at <= at for f in sent)  # it cannot be known
        if status != "done" and not in_klippy:
            late = [b for b in began if b > at + 0.3]
            if late:
                yield (f"{command} was told {status} at {at:.1f} s, and began at {late[0]:.1f} s")
        return
    if command.action in BY_MOONRAKER:
        if command.action == "queue_clear" and status == "done":
            yield from _stays_clear(command, at, case)
        if command.action in ("queue_remove", "delete_file", "spool"):
            yield from ends_truly(command, told, status, case)
        return
    if "save" in command.params:  # ends with Klippy: there is no end of the script to see
        if status == "done" and not any(first <= s.begin <= at for s in case.klippys):
            yield f"{command} was told done before it happened"
        fell = any(first < h <= at for h, _ in case.halts)
        if status == "interrupted" and sent and case.same_life(first, at) and not fell:
            yield f"{command} was told interrupted, and was only what it asks for"
        return
    if command.action == "move":
        return  # to the same place more than once
    finished = [case.ended.get(f.data["run"]) for f in sent]
    if status == "done" and not any(
        f is not None and f.at <= at and "error" not in f.data for f in finished
    ):
        yield f"{command} was told done, and had not been run to its end"
    if status == "failed":
        for fact in finished:
            if fact is not None and fact.at > at + 0.5 and "error" not in fact.data:
                yield (
                    f"{command} was told failed at {at:.1f} s, and was run to its end at"
                    f" {fact.at:.1f} s"
                )
    for fact in sent:
        if fact.at > at + 0.3 and status in ("failed", "interrupted", "done"):
            yield f"{command} was told {status} at {at:.1f} s, and ran at {fact.at:.1f} s"


def _late_indeed(command: Asked, told: Fact, case: Case) -> Iterator[str]:
    """Whoever is told that a command came too late did not ask it just now."""
    if any(f.what in ("power cut", "moves") and f.at < told.at for f in case.facts):
        return  # its clock may have been ahead, or the other hub's not known
    since = command.delivered[0] if command.stamped is None else command.stamped
    age, limit = told.at - since, LIMITS.get(command.action, GCODE_LIMIT)
    if age < limit - 10:
        yield f"{command} was told expired {age:.0f} s after it was asked ({limit:.0f} s)"


def _in_its_order(command: Asked, told: Fact, case: Case) -> Iterator[str]:
    """Nothing is refused for a print of the hub's that was asked behind it."""
    if "would disturb the job" not in str(told.data["message"]) or len(command.delivered) > 1:
        return
    for other in case.asked:
        later = bool(other.delivered) and other.delivered[0] >= command.delivered[0]
        behind = later and case.place[other.n] > case.place[command.n]
        named = f"the job {other.params.get('file')}," in told.data["message"]
        if other.action in PRINTS and behind and named and not other.params.get("queue"):
            yield f"{command} was refused for {other}, which was asked behind it"


def _stays_clear(command: Asked, at: float, case: Case) -> Iterator[str]:
    """What was in the queue when it was emptied does not begin."""
    for fact in case.gets:
        if fact.data["by"] == "queue" and fact.at > at:
            file = re.findall(r'FILENAME="?([^"\n]+)"?', fact.data["script"])
            put = [
                f.at
                for f in case.facts
                if f.what == "queued" and [f.data["file"]] == file and f.at < fact.at
            ]
            if put and put[-1] < command.delivered[0]:
                yield f"{command} was told done, and {file[0]} began from the queue"


def _ready_through(case: Case, begin: float, end: float) -> bool:
    """Klippy was ready all the time, so that nothing had stopped it."""
    state, since = "off", 0.0
    for fact in case.facts:
        if fact.at > end:
            break
        if fact.who == "klippy" and fact.what in ("is", "starts", "crashes", "restarts"):
            if since <= begin and state != "ready" and fact.at > begin:
                return False
            state, since = fact.data.get("state", "off"), fact.at
            if fact.at > begin and state != "ready":
                return False
    return state == "ready"


def _true_verb(command: Asked, told: Fact, status: str, case: Case) -> Iterator[str]:
    """pause, resume, cancel: by what became of the job."""
    at, first = told.at, command.delivered[0]
    mine = [f for f in case.sent[command.n] if f.at >= first - 0.01]
    if command.action == "cancel" and status == "done":
        # Told of prints that waited, it says nothing of a job that a person began behind it.
        waited = "before it began" in str(told.data["message"])
        asked = command.queued if command.stamped is None else command.stamped
        for span, name, by in case.jobs:
            theirs = waited and by == "person" and span.begin > asked
            if span.begin < first - HEARS_WITHIN and span.end > at + 0.3 and not theirs:
                yield f"{command} was told done, and {name} went on"
    if command.action == "cancel" and status == "failed" and _undisturbed(case, first, at):
        for span, name, _by in case.jobs:
            if span.begin < first - HEARS_WITHIN and at < span.end:
                yield f"{command} was told failed, and nothing kept {name} from its end"
    if (
        status in ("failed", "refused", "expired")
        and len([c for c in case.asked if c.action == command.action and c.delivered]) == 1
    ):
        for fact in mine:
            ended = case.ended.get(fact.data["run"])
            if ended is not None and "error" not in ended.data and ended.at > at + 0.5:
                worked = command.action != "cancel" or any(
                    at < s.end <= ended.at + 0.5 and s.begin < first for s, _, _ in case.jobs
                )
                if worked:
                    yield (
                        f"{command} was told {status} at {at:.1f} s, and happened at"
                        f" {ended.at:.1f} s"
                    )


def _undisturbed(case: Case, begin: float, end: float) -> bool:
    """Klippy was ready, and had nothing else to do but the plugin's own verbs."""
    if any(s.touches(begin, end) for s in case.hangs) or not _ready_through(case, begin - 5, end):
        return False
    if not case.same_life(begin - 5, end):
        return False
    for fact in case.gets:
        verb = fact.data["by"] == "plugin" and fact.data["script"] in CANCELS
        ended = case.ended.get(fact.data["run"])
        until = ended.at if ended is not None else end
        if not verb and fact.at < end and until > begin - 5:
            return False
    return True


def a_stop_arrives(case: Case) -> Iterator[str]:
    """I3: a stop delivered in time reaches Klippy at once, or is told as not taken; one that waits
    at a hub which can be reached is fetched within half a minute."""
    yield from _the_power_goes_off(case)
    yield from _stops_once(case)
    arrivals = [f.at for f in case.ours if f.data["script"] == "emergency_stop"]
    for command in case.asked:
        if command.action != "emergency_stop":
            continue
        yield from _fetched_in_time(command, case)
        if not command.delivered:
            continue
        at = command.delivered[0]
        since = command.queued if command.stamped is not None else at
        if (
            at - since > 55
            or case.forbidden(command, at, True)
            or not case.alive(at, at + AT_ONCE + 0.5)
        ):
            continue
        if not _klippy_there(case, at):
            continue
        hung = any(
            s.begin - 0.05 <= at + AT_ONCE and at <= s.end + (2.0 if case.met_by_none(s) else 0.0)
            for s in case.hangs
        )
        if hung:
            within = 20.0 if case.quiet_disk(at, at + 20) else 60.0  # it is written down first
            if not case.alive(at, at + within) or not case.fair(at, at + within):
                continue
            told = [f for f in case.told[command.n] if f.at <= at + within]
            taken = any(at <= halt <= at + within for halt, _ in case.halts)
            if not told and not taken:
                yield (f"{command}: Klippy hung, and {within:.0f} s later nobody had been told")
        elif not any(at - 10.0 <= a <= at + AT_ONCE for a in arrivals):
            yield f"{command}, delivered at {at:.1f} s, did not reach Klippy"


def _stops_once(case: Case) -> Iterator[str]:
    """What a hub hands out again, since it has not heard of its end, stops nothing again."""
    if not case.house["features"].get("redeliver"):
        return
    stops = [c for c in case.asked if c.action == "emergency_stop"]
    repeated = {n for f in case.facts if f.what == "repeats" for n in f.data["n"]}
    for command in stops:
        if command.n in repeated:
            continue
        first = command.delivered[0] if command.delivered else 0.0
        taken = [at for at, _ in case.halts if first <= at <= first + 10.0]
        for again in command.delivered[1:]:
            alone = not any(
                abs(at - again) < 10.0 for c in stops if c is not command for at in c.delivered
            )
            sent = [
                f.at
                for f in case.ours
                if f.data["script"] == "emergency_stop" and again <= f.at <= again + AT_ONCE
            ]
            late = taken and taken[0] + 10.0 < again < first + 590.0
            if late and alone and sent and case.same_life(first, again):
                yield f"{command} stopped again at {sent[0]:.1f} s: it was only handed out again"


def _the_power_goes_off(case: Case) -> Iterator[str]:
    """`security.emergency_power_device` is off within 5 s of a stop that Klippy did not take;
    never without one, nor where nobody set it."""
    offs = [f.at for f in case.facts if f.what == "power off"]
    stops = [
        (at, c)
        for c in case.asked
        if c.action == "emergency_stop"
        for at in c.delivered
        if not case.forbidden(c, at)
    ]
    for off in offs:
        asked = [at for at, _ in stops if 0 < off - at < 15]
        taken = [h for h, _ in case.halts if asked and asked[-1] - 0.5 < h < off - 1.0]
        wanted = any(
            c.action == "power" and c.delivered and c.delivered[0] < off for c in case.asked
        )
        if wanted:
            continue
        if not asked or not case.house["power_device"]:
            yield f"the power was switched off at {off:.1f} s, and nobody had asked for a stop"
        elif taken and _klippy_there(case, asked[-1]) and not _hung(case, taken[0], off):
            yield f"the power was switched off at {off:.1f} s, after Klippy took the stop"
    for at, command in stops:
        hung = any(s.begin < at - HEARS_WITHIN and at + 6 < s.end for s in case.hangs)
        young = at - (at if command.stamped is None else command.queued) < 55
        if (
            hung
            and young
            and case.house["power_device"] == "works"
            and _klippy_there(case, at)
            and case.alive(at, at + 6)
            and not case.forbidden(command, at, True)
            and not any(at - 60 < off < at + 5 for off in offs)
        ):
            yield f"{command}: Klippy hung, and the power was not off within 5 s"


def _hung(case: Case, begin: float, end: float) -> bool:
    return any(s.touches(begin, end) for s in case.hangs)


def _fetched_in_time(command: Asked, case: Case) -> Iterator[str]:
    queued = command.queued
    for fact in case.facts:
        if fact.what == "asked" and fact.data["n"] == command.n:
            queued = fact.at
    end = queued + 36.0
    if not case.alive(queued, end) or not case.fair(queued, end) or end > case.seen.ended:
        return
    if not command.handed or command.handed[0] > end:
        yield f"{command}, asked at {queued:.1f} s of a hub in order, was not fetched"


def _klippy_there(case: Case, at: float) -> bool:
    """Connected, and running: up for some seconds, not in shutdown."""
    if not any(s.begin + 8 < at and at + AT_ONCE < s.end for s in case.klippys):
        return False
    state = "off"
    for fact in case.facts:
        if fact.at > at:
            break
        if fact.who == "klippy" and fact.what in ("is", "starts"):
            state = fact.data.get("state", "startup")
    return state == "ready" and any(s.begin + 8 < at for s in case.lives if at < s.end)


def nothing_runs_late(case: Case) -> Iterator[str]:
    """I4: nothing runs after its time, by the hub's true clock."""
    for fact in case.ours:
        command = case.who(fact)
        if command is None or not known_again(command):
            continue
        since = case.known_since(command) if command.stamped is None else command.stamped
        age = fact.at - since
        limit = LIMITS.get(command.action, GCODE_LIMIT)
        if age > limit + 5:
            yield f"{command} reached Klippy {age:.0f} s after it was asked ({limit:.0f} s)"
    for command, fact in known_deeds(case):
        since = case.known_since(command) if command.stamped is None else command.stamped
        limit = LIMITS[command.action]
        if fact.at - since > limit + 5:
            yield f"{command} was done {fact.at - since:.0f} s after it was asked"


def nothing_begins_after_its_end(case: Case) -> Iterator[str]:
    """I5: after a `cancel` told done (or told that nothing is there to cancel), and after a stop,
    a shutdown or a crash, nothing asked before begins; nor, once the settings name another hub,
    what the one before asked for."""
    yield from _of_the_hub_before(case)
    for cancel in case.asked:
        end = case.end_of(cancel) if cancel.action == "cancel" and cancel.delivered else None
        if end is None or end[1] not in ("done", "refused"):
            continue
        if end[1] == "refused" and "ancel" not in str(end[0].data["message"]):
            continue  # forbidden, or Klippy was not there: nothing was promised
        for command in case.asked:
            if command.action not in PRINTS or not command.delivered:
                continue
            if case.place[command.n] > case.place[cancel.n]:
                continue
            if case.known_since(command) > cancel.delivered[0]:
                continue
            for fact in case.sent[command.n]:
                if fact.at > end[0].at:
                    yield (
                        f"{command} began at {fact.at:.1f} s, after {cancel} was told"
                        f" {end[1]} at {end[0].at:.1f} s"
                    )
    yield from _stays_stopped(case)
    for fact in case.ours:
        command = case.who(fact)
        if command is None or not known_again(command) or command.action == "firmware_restart":
            continue
        for at in case.unseen_crashes:
            if case.known_since(command) < at < fact.at - HEARS_WITHIN:
                yield f"{command} ran at {fact.at:.1f} s, after a crash at {at:.1f} s"
        restart = _behind_a_restart(command, case)
        for at, what in case.halts:
            if not case.same_life(at - 0.1, at + 3.0) or case.never_met(at):
                continue  # nobody was left who had seen it: what waited runs if it is in time
            if restart is not None and restart.at < at and what == "a crash of Klippy":
                continue  # it was going to be started anew, and that is what was waited for
            if case.known_since(command) < at - HEARS_WITHIN and at + HEARS_WITHIN < fact.at:
                yield f"{command} ran at {fact.at:.1f} s, after {what} at {at:.1f} s"
                break


def _of_the_hub_before(case: Case) -> Iterator[str]:
    moves = [f.at for f in case.facts if f.what == "moves"]
    for fact in case.ours:
        command = case.who(fact)
        if command is None or not known_again(command) or case.lost_address(fact.at):
            continue
        since = [at for at in moves if command.delivered[-1] < at < fact.at]
        if len(since) != 1:  # at a second move it may have gone back
            continue
        if case.same_life(since[0], fact.at) and since[0] + 5.0 < fact.at:
            yield (
                f"{command} ran at {fact.at:.1f} s, and its hub was left for another one at"
                f" {since[0]:.1f} s"
            )


def _stays_stopped(case: Case) -> Iterator[str]:
    """Nothing that was asked before a stop brings the printer back after it."""
    sent = [f.at for f in case.ours if f.data["script"] == "emergency_stop"]
    stops = [c for c in case.asked if c.action == "emergency_stop" and c.delivered]
    for fact in case.ours:
        if fact.data["script"] != "FIRMWARE_RESTART":
            continue
        asked = [c for c in case.asked if c.delivered and fact in case.sent[c.n]]
        for stop in stops:
            at = stop.delivered[0]
            behind = all(
                case.place[c.n] < case.place[stop.n] and c.delivered[0] <= at for c in asked
            )
            taken = any(at <= a <= at + AT_ONCE and a + 0.1 < fact.at for a in sent)
            if asked and behind and taken and case.same_life(asked[0].delivered[0], fact.at):
                yield f"{asked[0]} reached Klippy at {fact.at:.1f} s, after {stop}"


def each_in_its_turn(case: Case) -> Iterator[str]:
    """I9: what is asked first reaches Klippy first."""
    scripts = [
        (case.place[command.n], command, case.sent[command.n][0])
        for command in case.asked
        if command.action == "gcode" and len(command.delivered) == 1 and case.sent[command.n]
    ]
    for (_, first, its), (_, other, sent) in itertools.combinations(sorted(scripts, key=_place), 2):
        if other.delivered[0] >= first.delivered[0] and sent.at < its.at:
            yield f"{other} reached Klippy at {sent.at:.1f} s, {first} at {its.at:.1f} s"


def _place(script: tuple[int, Asked, Fact]) -> int:
    return script[0]


def _behind_a_restart(command: Asked, case: Case) -> Fact | None:
    """The script of a `firmware_restart` that was asked before this, and for it, perhaps."""
    for fact in case.ours:
        asked = case.who(fact) if fact.data["script"] == "FIRMWARE_RESTART" else None
        if asked is not None and case.place[asked.n] < case.place[command.n]:
            return fact
    return None


def no_print_on_an_uncleared_bed(case: Case) -> Iterator[str]:
    """I6: no print begins by the hub's doing on a bed that nobody cleared."""
    dirty_since: float | None = None
    began_at = ended_at = 0.0
    clears = [
        f.data["run"]
        for f in case.gets
        if f.data["by"] == "person" and "BED_CLEAR" in f.data["script"]
    ]
    queued_by_hub = running = False
    by_people: set[str] = set()
    for fact in case.facts:
        if fact.what == "queued" and fact.data["by"] == "person":
            by_people.add(fact.data["file"])
        if fact.what == "queue started":
            queued_by_hub = fact.data["by"] != "person"
        if fact.who == "people" and fact.what == "bed_clear":
            dirty_since = None
        if fact.what == "ended" and fact.data["run"] in clears and "error" not in fact.data:
            dirty_since = dirty_since if running else None
        if fact.what == "job begins":
            by = fact.data["by"]
            hers = fact.data["file"] not in by_people
            ours = by == "plugin" or (by == "queue" and queued_by_hub and hers)
            watched = all(s["require_clear_bed"] for s in case.security(fact.at))
            if ours and watched and dirty_since is not None and fact.at - ended_at > HEARS_WITHIN:
                yield (
                    f"{fact.data['file']} was begun at {fact.at:.1f} s on a bed that was not"
                    f" cleared since {dirty_since:.1f} s"
                )
        if fact.what == "job begins":
            running, began_at = True, fact.at
        stopped = fact.who == "klippy" and (
            fact.what in ("job ends", "crashes", "restarts") or fact.data.get("state") == "shutdown"
        )
        if running and stopped:
            running = False
            ended_at = fact.at
            # Klipper tells four times a second: of a job that was so short, its end is seen where
            # that stays in print_stats.
            stays = fact.what == "job ends" and fact.data["state"] != "reset"
            hung = any(
                s.begin < began_at + HEARS_WITHIN and fact.at <= s.end + 0.01 for s in case.hangs
            )
            seen = stays or (fact.at - began_at > HEARS_WITHIN and not hung)
            if dirty_since is None and seen and not case.left_no_trace(began_at, fact):
                dirty_since = fact.at


def it_comes_back(case: Case) -> Iterator[str]:
    """I7: the plugin comes back from every crash, and nothing unforeseen happens inside it."""
    seen = case.seen
    for fact in case.facts:
        if fact.what in ("fault", "handler failed"):
            told = fact.data.get("text") or fact.data.get("event")
            yield f"{told}: {fact.data['error']}"
    if seen.last_status < seen.ended - 62:
        yield f"the last status came at {seen.last_status:.1f} s, of {seen.ended:.1f} s"
    end = case.end_of(seen.probe)
    if end is None or end[1] != "done":
        yield f"the last command was {'not answered' if end is None else 'told ' + end[1]}"


def nothing_forbidden_happens(case: Case) -> Iterator[str]:
    """I8: nothing happens that the settings in force, or the last good ones, forbid."""
    for fact in case.ours:
        command = case.who(fact)
        if command is None or not known_again(command):
            continue
        why = case.forbidden(command, fact.at)
        if why:
            yield f"{command} reached Klippy at {fact.at:.1f} s against {why}"
        for done in case.does.get(fact.data["run"], ()):
            if done.data["deed"] == "glows" and done.data["led"] not in ALLOWED_PINS:
                yield f"{command} sets {done.data['led']}, which the operator does not allow"
    for command, fact in known_deeds(case):
        why = case.forbidden(command, fact.at)
        # What a slow card makes last was begun before.
        begun = not case.quiet_disk(fact.at - 30.0, fact.at) and not case.forbidden(
            command, command.delivered[0]
        )
        if why and not begun:
            yield f"{command} was done at {fact.at:.1f} s against {why}"
    yield from nothing_else_goes(case)


# To add a rule: a line here.
INVARIANTS: dict[str, Callable[[Case], Iterator[str]]] = {
    "I1": nothing_disturbs_a_job,
    "I2": each_command_ends_truly,
    "I3": a_stop_arrives,
    "I4": nothing_runs_late,
    "I5": nothing_begins_after_its_end,
    "I6": no_print_on_an_uncleared_bed,
    "I7": it_comes_back,
    "I8": nothing_forbidden_happens,
    "I9": each_in_its_turn,
}


def judge(seen: Seen) -> list[Violation]:
    case = Case(seen)
    return [Violation(rule, text) for rule, look in INVARIANTS.items() for text in look(case)]
