"""How far a job is: progress, layers, time left, with a memory of the job. Pure: fed with Klipper's
merged status objects.

Klipper's display_status keeps the last M73 until it idles: into the next job, and not through a
pause. So M73 counts once it has changed within this job, is kept through pauses, and is given up
when the file goes on for a while without a word of it.
"""

import math
from typing import Any, Mapping, NamedTuple, Optional, Tuple

from ..runtime.loose import as_dict, as_float, as_int, as_list, as_text
from .slicer_words import SlicerWords, share_of_time

M73_STEP = 0.01  # M73 gives whole percents (Klipper's display_status.py)
M73_KEPT = 0.15  # share of the file's bytes that may pass without a word of it
ZERO_KEPT = 0.05  # the same of "0 %", which some slicers say once, and never more
ALL_DONE = 0.995
FAR = 0.9  # of the bytes: an M73 that says "all done" before is that of another job
PACE_TRUSTED = 0.2  # share of the time after which only the measured pace counts
SPENT_FROM = 0.1  # of the estimate: before so much time has passed the pace counts less
MEASURED_FROM = 0.01  # share of the file after which its pace says anything

Objects = Mapping[str, Mapping[str, Any]]


NO_WORDS = SlicerWords()


class FileFacts(NamedTuple):
    """What Moonraker's metadata, or else the slicer's comments, know of the file being printed;
    zeros where they know nothing.
    """

    filename: str = ""
    estimated_time: float = 0.0  # seconds, the slicer's word
    gcode_start_byte: int = 0
    gcode_end_byte: int = 0
    layer_count: int = 0
    filament_total: float = 0.0  # mm
    filament_weight: float = 0.0  # g, of all of it
    layer_height: float = 0.0  # mm
    first_layer_height: float = 0.0  # mm
    object_height: float = 0.0  # mm
    clock: Tuple[Tuple[int, float], ...] = ()  # of `SlicerWords`


def read_facts(
    filename: str, metadata: Mapping[str, Any], words: SlicerWords = NO_WORDS
) -> FileFacts:
    def number(name: str, otherwise: float = 0.0) -> float:
        return max(as_float(metadata.get(name), 0.0), 0.0) or otherwise

    return FileFacts(
        filename=filename,
        estimated_time=number("estimated_time", words.estimate),
        gcode_start_byte=as_int(metadata.get("gcode_start_byte"), 0),
        gcode_end_byte=as_int(metadata.get("gcode_end_byte"), 0),
        layer_count=as_int(metadata.get("layer_count"), 0),
        filament_total=number("filament_total"),
        filament_weight=number("filament_weight_total"),
        layer_height=number("layer_height", words.layer_height),
        first_layer_height=number("first_layer_height", words.first_layer_height),
        object_height=number("object_height", words.object_height),
        clock=words.clock,
    )


class Course(NamedTuple):
    """How far a job is. `time_share`: 0 to 1 of its printing time, where the slicer told that."""

    progress: float = 0.0
    time_share: Optional[float] = None
    layer: Optional[int] = None
    layers: Optional[int] = None


class JobMemory:
    """Follows one job after the other; `follow` after each change of Klipper's status."""

    def __init__(self) -> None:
        self._state = ""
        self._filename = ""
        self._duration = 0.0
        self._left_over: Optional[float] = None  # M73 of before this job
        self._word: Optional[float] = None  # this job's last M73
        self._m73: Optional[float] = None  # the same, while it counts
        self._m73_at = 0.0  # share of the bytes when it came
        self._display: Optional[float] = None  # what display_status said last, M73's or not
        self._z_layer: Optional[int] = None
        self._next_layer: Optional[int] = None  # seen once: a hop goes up, too

    def follow(self, objects: Objects, facts: FileFacts) -> None:
        stats = objects.get("print_stats", {})
        state, filename = as_text(stats.get("state")), as_text(stats.get("filename"))
        duration = as_float(stats.get("total_duration"), 0.0)
        spoken = spoken_progress(objects)
        if state in ("printing", "paused"):
            by_bytes = byte_progress(objects, facts)
            same = self._state in ("printing", "paused") and filename == self._filename
            if not same or duration < self._duration - 1.0:
                self._begin(spoken, by_bytes)
            self._listen(spoken, by_bytes)
            self._follow_layer(objects, facts)
        self._state, self._filename, self._duration = state, filename, duration
        self._display = as_float(objects.get("display_status", {}).get("progress"))

    def _begin(self, spoken: Optional[float], by_bytes: float) -> None:
        self._word = self._m73 = None
        self._z_layer = self._next_layer = None
        self._left_over = self._display or None  # 0 is what an idle printer says, too
        if not self._state and spoken is not None:  # a job that ran when we came
            old = spoken >= ALL_DONE and by_bytes < FAR
            self._left_over = spoken if old else None

    def _listen(self, spoken: Optional[float], by_bytes: float) -> None:
        if spoken != self._left_over:
            self._left_over = None
            if spoken is not None and spoken != self._word:
                self._word = self._m73 = spoken
                self._m73_at = by_bytes
        kept = M73_KEPT if self._m73 else ZERO_KEPT
        if self._m73 is not None and by_bytes - self._m73_at > kept:
            self._m73 = None

    def _follow_layer(self, objects: Objects, facts: FileFacts) -> None:
        layer = layer_at(objects, facts)
        if layer is not None and layer == self._next_layer:
            self._z_layer = layer
        self._next_layer = layer

    def course(self, objects: Objects, facts: FileFacts) -> Course:
        """How far the job is now; `facts` are of its file, or of none."""
        stats = objects.get("print_stats", {})
        info = as_dict(stats.get("info"))
        layers = as_int(info.get("total_layer"))
        layers = layer_count(facts) if layers is None else layers
        state = as_text(stats.get("state"))
        if state not in ("printing", "paused"):
            return Course(progress=1.0 if state == "complete" else 0.0, layers=layers)
        layer = as_int(info.get("current_layer"))
        layer = self._z_layer if layer is None else layer
        if self._m73 is not None:
            return Course(self._m73, self._m73, layer, layers)
        position = as_int(objects.get("virtual_sdcard", {}).get("file_position"), 0)
        time_share = share_of_time(facts.clock, position, facts.gcode_start_byte)
        return Course(byte_progress(objects, facts), time_share, layer, layers)


def spoken_progress(objects: Objects) -> Optional[float]:
    """What M73 said last, 0 to 1; None while display_status only repeats the virtual_sdcard's
    progress. A value that differs from that in whole percents can only be M73's.
    """
    display = as_float(objects.get("display_status", {}).get("progress"))
    card = as_float(objects.get("virtual_sdcard", {}).get("progress"), 0.0)
    if display is None or abs(display - card) <= 1e-6:
        return None
    steps = display / M73_STEP
    return _bounded(display) if abs(steps - round(steps)) < 1e-6 else None


def byte_progress(objects: Objects, facts: FileFacts) -> float:
    """The place between the first and the last byte of G-code, 0 to 1: thumbnails and the slicer's
    settings are no printing.
    """
    card = objects.get("virtual_sdcard", {})
    span = facts.gcode_end_byte - facts.gcode_start_byte
    if span <= 0:
        return _bounded(as_float(card.get("progress"), 0.0))
    position = as_float(card.get("file_position"), 0.0)
    return _bounded((position - facts.gcode_start_byte) / span)


def layer_count(facts: FileFacts) -> Optional[int]:
    """As Mainsail reckons it; None where the file says nothing."""
    if facts.layer_count > 0:
        return facts.layer_count
    if facts.layer_height <= 0 or facts.object_height <= 0:
        return None
    first = facts.first_layer_height or facts.layer_height
    return max(1, math.ceil((facts.object_height - first) / facts.layer_height - 0.05) + 1)


def layer_at(objects: Objects, facts: FileFacts) -> Optional[int]:
    """The layer at the nozzle's height, as Mainsail reckons it where nobody tells Klipper; None
    before the first extrusion and without the slicer's heights.
    """
    if facts.layer_height <= 0:
        return None
    if not as_float(objects.get("print_stats", {}).get("print_duration"), 0.0):
        return None
    place = as_list(objects.get("gcode_move", {}).get("gcode_position"))
    z = as_float(place[2]) if len(place) > 2 else None
    if z is None:
        return None
    first = facts.first_layer_height or facts.layer_height
    layer = max(1, math.ceil((z - first) / facts.layer_height - 0.05) + 1)
    count = layer_count(facts)
    return layer if count is None else min(layer, count)


def time_left(course: Course, print_duration: float, estimate: float) -> Optional[float]:
    """Seconds until the job ends; None while nothing is known. Heating is no pace: `print_duration`
    begins with the extrusion, and leaves pauses out.

    Where the slicer told how its time passes (M73, Cura's clock), the pace so far soon counts more
    than its estimate. Bytes pass unevenly: there it counts little until much has been printed.
    """
    if course.time_share is not None:
        done, trusted = course.time_share, course.time_share / PACE_TRUSTED
    else:
        done, trusted = course.progress, course.progress**2
    measured = 0.0
    if done > MEASURED_FROM and print_duration > 0:
        measured = print_duration / done
    if estimate <= 0:
        return measured * (1.0 - done) if measured else None
    begun = print_duration / (SPENT_FROM * estimate)  # little time tells little of the pace
    weight = min(trusted, 1.0) * min(begun, 1.0) if measured else 0.0
    return ((1.0 - weight) * estimate + weight * measured) * (1.0 - done)


def _bounded(value: float) -> float:
    return min(max(value, 0.0), 1.0)
