"""The JSON files in Moonraker's config folder, live: in force within two seconds of being saved.

Moonraker's file events tell of every edit, by a web interface or over SSH; a look at the file's
status every `POLL` seconds stands in where its file observer is off. Whatever changed is read when
it stands still, since some editors write a file in pieces. A file that cannot be understood goes on
meaning what it said before, across a restart too, and a notice says where it is broken.
"""

import asyncio
import logging
import os
import stat
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Set, Tuple

from ..runtime.clock import Clock
from ..runtime.disk import discard, reason_of, write_whole
from ..runtime.messages import joined, say, sentence
from ..runtime.moves import place
from ..runtime.notices import Notices
from ..runtime.supervisor import Supervisor
from ..runtime.worker import Worker
from .conf import ConfValues
from .effective import changes, describe
from .json_layer import Layer
from .jsonc import MAX_BYTES, Document, JsoncError, read_bytes
from .loader import Loaded, merge
from .memory import NOTHING, Memory, load, save
from .model import LiveSettings, Origin
from .options import V4_CONFIG_FILE
from .saving import Saved, SaveRefused, prepare, replace
from .template import json_template

# Seconds between two looks. Moonraker's file observer tells of every edit, over SSH too; this is
# for where it is switched off.
POLL = 60.0
SETTLE = 0.2  # seconds for which a changed file must stand still
MAX_SETTLES = 20

_Signature = Tuple[Tuple[int, ...], ...]  # device, inode, size and time of each file; () if absent


class _Found(NamedTuple):
    """What the folder holds now."""

    signature: _Signature
    layers: Tuple[Layer, ...]  # the files that are there, lowest first
    errors: Mapping[str, str] = {}  # by file: why it cannot be understood


class Override:
    """Keeps `live` in step with the file. `loaded` is what is in force, with its origins."""

    def __init__(
        self,
        *,
        live: LiveSettings,
        conf: ConfValues,
        folder: Optional[Path],
        memory: Path,
        notices: Notices,
        worker: Worker,
        supervisor: Supervisor,
        clock: Clock,
    ) -> None:
        """`folder` is Moonraker's config root; None: moonraker.conf alone counts. `memory` is the
        file of our own that remembers what was understood last.
        """
        self._live = live
        self._conf = conf
        self._folder = folder
        self._memory_file = memory
        self._memory: Optional[Memory] = None  # not read yet
        self._notices = notices
        self._worker = worker
        self._supervisor = supervisor
        self._clock = clock
        self.loaded: Loaded = merge(conf)
        self.file_name = conf.config_file
        self.error = ""  # what is wrong with a file as a whole
        self.own_name = conf.config_file  # what `save` writes
        self._signature: Optional[_Signature] = None
        self._shown: Set[str] = set()
        self._looking = asyncio.Lock()
        self._saving = asyncio.Lock()
        self._stopped = False

    async def start(self) -> None:
        """Read the files, lay down an explained one where there is none, and watch from now on."""
        await self.look()
        if self._folder is not None and self._signature is not None and not any(self._signature):
            await self._lay_down(self._folder)
        self._supervisor.keep("settings file", self._watch)

    async def stop(self) -> None:
        """Apply nothing any more; the watching task ends with its supervisor."""
        self._stopped = True

    def on_file_changed(self, event: Any) -> None:
        """Handler of Moonraker's `file_manager:filelist_changed`."""
        if not self._stopped and _concerns(event, (self.own_name, V4_CONFIG_FILE)):
            self._supervisor.spawn("settings file changed", self.look())

    def describe(self) -> Dict[str, Any]:
        """Every effective value with origin, default and bounds, as JSON; secrets masked."""
        return describe(self.loaded, self.file_name, self.error)

    async def save(self, wanted: Mapping[str, Any], *, dry_run: bool = False) -> Saved:
        """Set options in our own file (None: no longer set there), through the same checks as one
        that is edited by hand; with `dry_run` only tell what it would be. Raises `SaveRefused`,
        also where somebody else has written the file meanwhile.
        """
        if self._folder is None:
            raise SaveRefused("Moonraker has no folder for settings: edit moonraker.conf.")
        async with self._saving:
            return await self._save(self._folder / self.own_name, wanted, dry_run)

    async def _save(self, path: Path, wanted: Mapping[str, Any], dry_run: bool) -> Saved:
        saved = await self._worker.run(prepare, path, dict(wanted))
        layer = Layer(self.own_name, saved.document)
        loaded = await self._worker.run(merge, self._conf, (layer,), self._memory or NOTHING)
        wrong = [problem.text for problem in loaded.problems if problem.path in wanted]
        if wrong:
            raise SaveRefused(joined(". ", wrong))
        if not dry_run:
            try:
                await self._worker.run(replace, path, saved)
            except OSError as error:
                raise SaveRefused(
                    "{file} could not be written ({reason}).",
                    file=self.own_name,
                    reason=reason_of(error),
                ) from None
            await self.look()
        return saved

    async def look(self) -> None:
        """Apply the file if it has changed since the last look."""
        async with self._looking:
            if not self._stopped:
                await self._look_once()

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(POLL)
            await self.look()

    async def _look_once(self) -> None:
        folder = self._folder
        if self._memory is None:
            self._memory = await self._worker.run(load, self._memory_file)
        if folder is None:
            await self._apply(_Found((), ()), self._memory)
            return
        found = await self._worker.run(_find, folder, self.own_name, self._signature)
        if found is None:
            return
        if self._signature is not None:  # not at the start, when nobody is editing
            found = await self._when_still(folder, found)
        await self._apply(found, self._memory)
        self._signature = found.signature  # what could not be applied is new at the next look, too

    async def _when_still(self, folder: Path, found: _Found) -> _Found:
        for _ in range(MAX_SETTLES):
            await self._clock.sleep(SETTLE)
            later = await self._worker.run(_find, folder, self.own_name, found.signature)
            if later is None:
                break
            found = later
        return found

    async def _apply(self, found: _Found, memory: Memory) -> None:
        old = self.loaded
        loaded = await self._worker.run(merge, self._conf, found.layers, memory)
        if self._stopped:
            return
        self.loaded = loaded
        names = [layer.name for layer in found.layers]
        self.file_name = names[-1] if names else self.own_name
        self._tell_errors(found.errors, memory)
        self._tell()
        changed = changes(old, self.loaded)
        if changed:
            files = ", ".join(reversed(names))
            self._notices.note(
                "Settings from {files}: {changes}", files=files, changes=joined("; ", changed)
            )
        self._live.replace(self.loaded.settings)
        if loaded.memory != memory:
            await self._remember(loaded.memory)
        self._memory = loaded.memory

    async def _remember(self, memory: Memory) -> None:
        try:
            await self._worker.run(save, self._memory_file, memory)
        except OSError as error:
            self._notices.log_once(
                "settings memory",
                "What was read last could not be kept in {memory} ({reason}): if {file} is broken "
                "at the next start, the cautious values will be in force.",
                memory=self._memory_file,
                reason=reason_of(error),
                file=self.file_name,
            )

    def _tell_errors(self, errors: Mapping[str, str], memory: Memory) -> None:
        told_of = (say("{what}: {error}", what=name, error=text) for name, text in errors.items())
        self.error = joined("; ", told_of)
        told: List[str] = []
        for name, error in errors.items():
            if name in memory.layers:
                after = say("What it said before stays in force.")
            else:
                after = say(
                    "Since nothing is known of what it said before, the cautious values are in "
                    "force (security.remote_control is {control}).",
                    control=self.loaded.settings.security.remote_control.value,
                )
            what = sentence("{file} is not applied: {error}. {after}")
            told.append(say(what, file=name, error=error, after=after))
        if told:
            self._notices.show("config", joined(" ", told))
        else:
            self._notices.clear("config", "{file} is in order again", file=self.file_name)

    def _tell(self) -> None:
        """One notice an option, taken back when it is mended; explanations go to the log only."""
        standing: Dict[str, List[str]] = {}
        for problem in self.loaded.problems:
            if problem.explained:
                self._notices.log_once(problem.text, problem.text, level=logging.INFO)
            else:
                standing.setdefault(f"config.{problem.path}", []).append(problem.text)
        for key in self._shown - set(standing):
            self._notices.clear(key)
        self._shown = set(standing)
        for key, texts in standing.items():
            self._notices.show(key, "{sentence}.", sentence=joined(". ", texts))

    async def _lay_down(self, folder: Path) -> None:
        try:
            await self._worker.run(_create, folder / self.own_name)
        except OSError as error:
            self._notices.log_once(
                "settings laid down",
                "{file} could not be created in {folder}: {reason}",
                file=self.own_name,
                folder=folder,
                reason=reason_of(error),
                level=logging.INFO,
            )


def _concerns(event: Any, names: Tuple[str, ...]) -> bool:
    """Whether a file event, whatever its action, is about one of `names` or a folder above it."""
    if not isinstance(event, Mapping):
        return False
    for key in ("item", "source_item"):
        item = event.get(key)
        if isinstance(item, Mapping) and item.get("root") == "config":
            path = str(item.get("path", "")).strip("/.")
            if any(name == path or name.startswith(f"{path}/" if path else "") for name in names):
                return True
    return False


# In the thread


def _find(folder: Path, own: str, known: Optional[_Signature]) -> Optional[_Found]:
    """What counts in `folder`, or None if nothing has changed since `known`."""
    names = (own,) if own == V4_CONFIG_FILE else (own, V4_CONFIG_FILE)
    # A list first: a tuple that still grows breaks where a debugger lists all objects meanwhile.
    signature = tuple([_signature(folder / name) for name in names])
    if signature == known:
        return None
    layers: List[Layer] = []
    errors: Dict[str, str] = {}
    for name, origin, present in zip(names, (Origin.JSON, Origin.V4), signature):
        if not present:
            continue
        document: Optional[Document] = None
        try:
            document = read_bytes(_read(folder / name))
        except JsoncError as error:
            errors[name] = str(error)
        except OSError as error:
            errors[name] = say("it cannot be read ({reason})", reason=reason_of(error))
        layers.append(Layer(name, document, origin))
    return _Found(signature, tuple(reversed(layers)), errors)


def _signature(path: Path) -> Tuple[int, ...]:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except (OSError, ValueError) as error:  # it may be there: the reading will say why not
        return (getattr(error, "errno", None) or -1,)
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode)


def _read(path: Path) -> bytes:
    """At most one byte more than is allowed; never waits on what is no file (a pipe, say)."""
    handle = os.open(str(path), os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(say("it is not a regular file"))
        return file.read(MAX_BYTES + 1)


def _create(path: Path) -> None:
    """Whole or not at all: half a file would be a broken one, by which little is allowed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.fresh")
    try:
        write_whole(fresh, json_template().encode("utf-8"), durable=True)
        place(fresh, path)
    except FileExistsError:
        pass
    finally:
        discard(fresh)
