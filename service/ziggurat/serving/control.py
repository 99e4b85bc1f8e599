"""What may change while the server runs: load, unload, the index of the repository, and the watch over its folder."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ziggurat.errors import InvalidArgument, NotFound, OutOfMemory, Unsupported, ZigguratError
from ziggurat.serving.entry import Entry, State
from ziggurat.serving.model_config import ModelConfig, from_triton
from ziggurat.serving.repository import MODEL_FILE, Found, choose, name_problem, scan, version_key

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from ziggurat.serving.registry import Registry

_INLINE = re.compile(rf"(?:\./)?([0-9]{{1,18}})/{re.escape(MODEL_FILE)}")


class Control:
    """Belongs to one event loop. `mode` is explicit (load and unload by call), poll (the folder decides) or none."""

    def __init__(self, registry: Registry, path: Path | None, name: str | None, mode: str) -> None:
        self.mode = mode
        self.registry = registry
        self._path = path
        self._name = name
        self._locks: dict[str, asyncio.Lock] = {}  # one change of a model at a time

    async def index(self, ready_only: bool) -> list[dict[str, str]]:
        """One row for each version that is known or lies in the repository."""
        rows = {(one.name, one.version): one.status for one in self.registry.entries()}
        table = [
            {"name": name, "version": version, "state": status.state.value, "reason": status.reason}
            for (name, version), status in rows.items()
        ]
        table += [
            {"name": one.name, "version": one.version, "state": "UNAVAILABLE", "reason": one.problem or "not loaded"}
            for one in await self.scan()
            if (one.name, one.version) not in rows
        ]
        table.sort(key=lambda row: (row["name"], version_key(row["version"])))
        return [row for row in table if row["state"] == State.READY.value] if ready_only else table

    async def load(self, name: str, config: str | None = None, files: Mapping[str, bytes] | None = None) -> None:
        """Loads or reloads a model, from the repository or from `files`. Returns when it is ready.

        Raises Unsupported outside of mode explicit, NotFound, InvalidArgument with the reason of a load that failed.
        """
        self._check_mode()
        alias, name = name, self.registry.canonical(name)
        if files and alias != name:
            raise InvalidArgument(
                f"failed to load '{alias}': it is an alias of '{name}', and files need a model's own name"
            )
        async with self._lock(name):
            found = inline(name, config, files) if files else await self._in_repository(name, config)
            entries = await self.registry.load(found)
            self._check_loaded(name, entries)
            stale = set(self.registry.versions(name)) - {one.version for one in found}
            if stale:
                self.registry.retire(name, stale, "not among the versions chosen")

    async def unload(self, name: str) -> None:
        """Returns at once; requests that were accepted get their answers. Raises NotFound, Unsupported."""
        self._check_mode()
        self.registry.versions(name)  # raises where there is none
        name = self.registry.canonical(name)
        async with self._lock(name):
            await self.registry.settle({name})
            self.registry.retire(name)

    def _check_mode(self) -> None:
        if self.mode != "explicit":
            raise Unsupported(f"load and unload by call are off: the control mode is '{self.mode}' (models.mode)")

    def _check_loaded(self, name: str, entries: Iterable[Entry]) -> None:
        failed = [entry for entry in entries if entry.status.state is not State.READY]
        if failed:
            reasons = "; ".join(f"version {entry.version}: {entry.status.reason}" for entry in failed)
            kind = OutOfMemory if any(entry.status.code == OutOfMemory.code for entry in failed) else InvalidArgument
            raise kind(f"failed to load '{name}': {reasons}")

    async def _in_repository(self, name: str, config: str | None) -> list[Found]:
        found = [one for one in await self.scan(config is not None) if one.name == name]
        if not found:
            raise NotFound(f"failed to load '{name}': the repository holds no such model")
        if config is None:
            return found
        wanted = from_triton(config, found[0].config)
        return [replace(one, config=wanted) for one in choose(found, wanted)]

    async def scan(self, every_version: bool = False) -> list[Found]:
        if self._path is None:
            return []
        return await asyncio.to_thread(scan, self._path, self._name, every_version)

    def _lock(self, name: str) -> asyncio.Lock:
        self._locks = {key: lock for key, lock in self._locks.items() if lock.locked()}
        return self._locks.setdefault(name, asyncio.Lock())


class Watch:
    """What appears, changes or vanishes in the folder is loaded, reloaded or unloaded.

    Something new is touched only when two looks in a row saw the same: a copy that is still under way is left alone.
    """

    def __init__(self, control: Control) -> None:
        self._control = control
        self._registry = control.registry
        self._served = {(one.name, one.version): one.found.stamp for one in self._registry.entries()}
        self._last: dict[tuple[str, str], tuple[object, ...]] = dict(self._served)

    async def run(self, interval: float, logger: FilteringBoundLogger) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(interval)
            try:
                await self.look()
            except ZigguratError as error:
                logger.warning("the repository cannot be read", reason=str(error))
            except Exception:  # one look that went wrong must not end the watch
                logger.exception("the repository could not be followed")

    async def look(self) -> None:
        found = {(one.name, one.version): one for one in await self._control.scan()}
        steady = [one for key, one in found.items() if self._last.get(key) == one.stamp != self._served.get(key)]
        self._last = {key: one.stamp for key, one in found.items()}
        for name, version in set(self._served) - set(found):
            self._registry.forget(name, [version])
            del self._served[name, version]
        if steady:
            self._served.update({(one.name, one.version): one.stamp for one in steady})
            await self._registry.load(steady)


def inline(name: str, config: str | None, files: Mapping[str, Any]) -> list[Found]:
    """The versions that a client sent along: `{"1/model.onnx": bytes}`. Nothing of it is written to a disk."""
    problem = name_problem(name)
    if problem:
        raise InvalidArgument(problem)
    if config is None:
        raise InvalidArgument(f"failed to load '{name}': files need the parameter 'config' beside them")
    wanted = from_triton(config, ModelConfig())
    versions = []
    for key, data in files.items():
        match = _INLINE.fullmatch(key)
        if match is None:
            raise Unsupported(f"file '{key}': only '<version>/{MODEL_FILE}' may be sent with a request")
        versions.append(Found(name, match[1], bytes(data)))
    return [replace(one, config=wanted) for one in choose(versions, wanted)]
