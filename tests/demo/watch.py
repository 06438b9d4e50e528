"""The hub's view of the printer, read from the hub's database: what is new, and how it stands."""

from __future__ import annotations

import time
from typing import Any

from tests.rig.hub import PhpHub

from .screen import Screen, bar, pad

_STATUS_COLOURS = {
    "printing": "green",
    "paused": "yellow",
    "error": "red",
    "offline": "red",
    "idle": "cyan",
}
_RESULT_COLOURS = {"done": "green", "refused": "yellow"}
_PLAIN_EVERY = 5.0  # seconds between two looks at the status, where there is no live panel


class Watch:
    """Tells on the screen what the hub has newly seen; `look` is called often."""

    def __init__(
        self, hub: PhpHub, token: str, generation: int, screen: Screen, panel_url: str
    ) -> None:
        self._hub = hub
        self._token = token
        self._generation = generation
        self._screen = screen
        self._panel_url = panel_url
        self._started = time.monotonic()
        self._labels: dict[str, str] = {}
        self._status = 0  # the number of the last status told
        self._word = ""
        self._told: set[str] = set()
        self._delivered = 0
        self._results = 0
        self._requests = 0
        self._next_plain = 0.0

    def name(self, command: Any, label: str) -> None:
        """From now on the command with this id is called `label`."""
        self._labels[str(command)] = label

    def tell(self, who: str, text: str, *styles: str) -> None:
        """One line, with the seconds since the start and who told whom."""
        seconds = self._screen.paint(f"{time.monotonic() - self._started:5.1f} s", "dim")
        self._screen.say(f"  {seconds}  {pad(who, 14)}  {self._screen.paint(text, *styles)}")

    def look(self) -> None:
        """Tell what is new, and draw the panel anew."""
        self._tell_deliveries()
        self._tell_requests()
        self._tell_states()
        self._tell_results()
        if self._screen.live:
            self._screen.panel(self.panel())
        elif time.monotonic() >= self._next_plain:
            self._next_plain = time.monotonic() + _PLAIN_EVERY
            status = self._hub.status(self._token)
            if status is not None:
                self.tell("hub sees", summary(status))

    # What is new

    def _tell_deliveries(self) -> None:
        delivered = self._hub.delivered(self._token)
        for delivery in delivered[self._delivered :]:
            command = delivery.command
            label = self._labels.get(str(command.get("id")), str(command.get("id")))
            self.tell("hub → printer", label, "bold")
        self._delivered = len(delivered)

    def _tell_requests(self) -> None:
        for request in self._hub.requests(token=self._token):
            if request.id <= self._requests or request.finished is None:
                continue
            self._requests = request.id
            if request.endpoint == "download_file":
                self.tell("hub → printer", f"the bytes of {request.query.get('file')}")
            elif request.endpoint == "mark_downloaded" and request.success:
                self.tell("printer → hub", "the file is on disk and its MD5 is right", "green")
            elif request.endpoint == "image" and "image" not in self._told:
                self._told.add("image")
                self.tell("printer → hub", f"the first picture ({request.size // 1024} KiB)")

    def _tell_states(self) -> None:
        last = self._hub.last(self._token)
        if last is None or last.id == self._status:
            return
        self._status = last.id
        word = last.status
        if word != self._word:
            arrow = f"{self._word} → {word}" if self._word else word
            self.tell("hub sees", arrow, "bold", _STATUS_COLOURS.get(word, "bold"))
            self._word = word
        message = str(last.body.get("state_message") or "")
        if message and message not in self._told:
            self._told.add(message)
            self.tell("hub sees", f"the printer says: {message}")

    def _tell_results(self) -> None:
        results = self._hub.results(self._token)
        for result in results[self._results :]:
            label = self._labels.get(str(result.id), str(result.id))
            style = _RESULT_COLOURS.get(result.status, "red")
            text = f"{label}: {result.status}" + (f", {result.message}" if result.message else "")
            self.tell("printer → hub", text, style)
        self._results = len(results)

    # How it stands

    def panel(self) -> list[str]:
        last = self._hub.last(self._token)
        if last is None:
            return []
        paint, status = self._screen.paint, last.body
        word = str(status["status"])
        job = status.get("job", {})
        layers = f"layer {job.get('layer') or 0}/{job['layers']}" if job.get("layers") else ""
        minutes = status["time_remaining"] // (60 if self._generation == 2 else 1)
        left = f"{minutes} min left" if word in ("printing", "paused") else ""
        rule = paint("─" * 78, "dim")
        title = f"The hub's view of {status['name']}  (generation {self._generation})"
        age = f"status {self._hub.count(self._token)}, {max(time.time() - last.time, 0):.1f} s old"
        shown = paint(pad(word.upper(), 10), "bold", _STATUS_COLOURS.get(word, "bold"))
        share = float(status["progress"]) / 100
        return [
            rule,
            f"  {pad(paint(title, 'bold'), 50)}  {paint(age, 'dim')}",
            "",
            f"  {shown}{pad(status['current_file'] or '–', 22)}  {pad(layers, 13)}{left}",
            f"  progress  {paint(bar(share, 50), 'green')} {status['progress']:3d} %",
            f"  hotend    {self._heater(status, 'hotend')}   bed {self._heater(status, 'bed')}",
            f"  speed {status['print_speed']} %   flow {status.get('print_flow', 100)} %"
            f"   fan {status['fan_speed']} %   last print: {status['last_completed'] or '–'}",
            "",
            f"  the plugin's own panel: {paint(self._panel_url, 'blue')}",
        ]

    def _heater(self, status: dict[str, Any], name: str) -> str:
        now, target = float(status[f"temp_{name}"]), float(status[f"temp_{name}_target"])
        text = f"{now:5.1f} °C" + (f" → {target:.0f} °C" if target else " (off)")
        return self._screen.paint(pad(text, 17), *(("red",) if target else ()))


def summary(status: dict[str, Any]) -> str:
    """A status in one line."""
    return (
        f"{status['status']}  {status['progress']:3d} %  "
        f"hotend {status['temp_hotend']:5.1f}/{status['temp_hotend_target']:.0f} °C  "
        f"bed {status['temp_bed']:4.1f}/{status['temp_bed_target']:.0f} °C  "
        f"speed {status['print_speed']} %  fan {status['fan_speed']} %"
    )
