"""What must be true of the actions that are not Klippy's alone: an entry of the job queue, a file,
a spool, an object of a job. Part of `invariants`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .case import HEARS_WITHIN, Case
from .hub import Asked
from .moonraker import SPOOLS
from .witness import Fact


def an_object_of_its_job(case: Case) -> Iterator[str]:
    """What is left out is an object of the job that ran when it was asked."""
    for fact in case.ours:
        command = case.who(fact)
        for done in case.does.get(fact.data["run"], ()):
            if done.data["deed"] != "leaves out" or command is None:
                continue
            # Klipper tells four times a second: whoever ended the job only just was not heard of.
            soon = min(done.at, fact.at + HEARS_WITHIN) + 0.01
            lately = any(fact.at - HEARS_WITHIN < span.end <= soon for span, _, _ in case.jobs)
            if not done.data["known"] and not lately:
                yield f"{command} leaves out what the job has not, at {done.at:.1f} s"
            asked = command.delivered[0] if command.stamped is None else command.stamped
            for span, name, _by in case.jobs:
                only_just = 0 <= fact.at - span.begin < HEARS_WITHIN
                only_just = only_just or (lately and done.at - span.begin < HEARS_WITHIN)
                if span.begin <= done.at < span.end and asked + 3 < span.begin and not only_just:
                    yield (
                        f"{command}, asked at {asked:.1f} s, leaves out an object of {name},"
                        f" which began at {span.begin:.1f} s"
                    )


def ends_truly(command: Asked, told: Fact, status: str, case: Case) -> Iterator[str]:
    """An entry of the queue, a file, a spool: by what became of it."""
    at, first, deeds = told.at, command.delivered[0], case.deeds(command)
    before = [f for f in deeds if first <= f.at <= at]
    alike = [c for c in case.asked if c is command or any(f in deeds for f in case.deeds(c))]
    if status == "done" and not before and not _was_on(command, at, case):
        yield f"{command} was told done, and nothing of it happened"
    if len(deeds) > len(alike) and not any(case.forgotten(f.at) for f in deeds):
        yield f"{command} was done {len(deeds)} times, and asked {len(alike)} times"
    if len(alike) > 1:
        return
    for fact in deeds:
        if fact.at > at + 0.3:
            yield f"{command} was told {status} at {at:.1f} s, and done at {fact.at:.1f} s"
        elif status in ("refused", "expired") or (status == "failed" and fact.what != "spool"):
            yield f"{command} was told {status}, and done at {fact.at:.1f} s"
    if command.action == "spool" and status == "done":
        yield from _active_indeed(command, told, case)


def _was_on(command: Asked, at: float, case: Case) -> bool:
    """The spool that was asked for was the active one already, when its turn came."""
    active = [0]
    for fact in case.facts:
        if fact.what == "spool" and fact.at <= at:
            since = active if fact.at > command.delivered[0] else []
            active = [*since, fact.data["id"]]
    return command.action == "spool" and command.params["spool"] in active


def _active_indeed(command: Asked, told: Fact, case: Case) -> Iterator[str]:
    """What is told of a spool is of that spool, and it is there."""
    ident, said = command.params["spool"], str(told.data["message"])
    if "Kind" in said and re.findall(r"Kind(\d+)", said) != [str(ident)]:
        yield f"{command} was told as {said!r}, which is another spool"
    set_at = max((f.at for f in case.deeds(command)), default=told.at)
    calm = case.fair(set_at, told.at) and case.alive(set_at, told.at)
    calm = calm and case.quiet_disk(set_at, told.at)
    for fact in case.facts:
        other = fact.what == "spool" and fact.data["id"] != ident
        if other and set_at < fact.at < told.at - 2.0 and calm:
            yield f"{command} was told done, and another was active since {fact.at:.1f} s"
    if ident not in SPOOLS and ident != 0:
        yield f"{command} is told done, and there is no such spool"


def known_deeds(case: Case) -> Iterator[tuple[Asked, Fact]]:
    """What was done by the plugin and not by Klippy, with the only command that asks for it."""
    for fact in case.done_elsewhere:
        asked = [
            c
            for c in case.asked
            if c.delivered and c.delivered[0] <= fact.at and fact in case.deeds(c)
        ]
        if len(asked) == 1:
            yield asked[0], fact


def nothing_else_goes(case: Case) -> Iterator[str]:
    """No file but the hub's own, and none that is in use; no entry of the queue but what was
    named."""
    fetched = case.house.get("fetched", ())
    for fact in case.done_elsewhere:
        file, at = fact.data.get("file"), fact.at
        wanted = [
            c
            for c in case.asked
            if c.delivered
            and c.delivered[0] <= at
            and (fact in case.deeds(c) or (c.action == "queue_clear" and "all" in fact.data))
            and ((end := case.end_of(c)) is None or at <= end[0].at or case.forgotten(end[0].at))
        ]
        if not wanted:
            yield f"{fact.what} {file or fact.data['id']} at {at:.1f} s, and nobody asked for it"
        if fact.what != "file gone":
            continue
        saved = any(
            f.what == "save a file" and f.data["file"] == file and f.at < at for f in case.facts
        )
        if file not in fetched or saved:
            yield f"{file} was deleted at {at:.1f} s, and was not the hub's"
        if any(name == file and span.begin <= at < span.end for span, name, _by in case.jobs):
            yield f"{file} was deleted at {at:.1f} s, in its own job"
        if file in _waiting(at, case):
            yield f"{file} was deleted at {at:.1f} s, and waits in the job queue"


def _waiting(at: float, case: Case) -> set[str]:
    """The files in Moonraker's job queue."""
    there: dict[str, str] = {}
    for fact in case.facts:
        if fact.at >= at:
            break
        if fact.what == "queued":
            there[fact.data["id"]] = fact.data["file"]
        elif fact.what in ("unqueued", "begun from the queue"):
            there.pop(fact.data["id"], None)
        elif fact.who == "moonraker" and fact.what in ("is killed", "restarts"):
            there.clear()
    return set(there.values())
