"""Settings are read again while the gateway runs: what can change does, what cannot is named, errors change nothing."""

import asyncio
from collections.abc import Callable, Iterator
from functools import reduce
from typing import Final

import structlog

from gateway.errors import SettingsError
from gateway.ports import Supervisor
from gateway.settings import Section, Settings, load_catalogue, load_projections
from gateway.settings_loader import Loaded

log = structlog.get_logger()

RELOADABLE: Final = frozenset(
    {
        "operators",
        "limits.commands_per_second",
        "limits.burst",
        "limits.parked",
        "limits.parked_per_actor",
        "health.interval",
        "log.level",
    }
)
"""What takes effect without a restart. The rest is built into connections, files and what is under way."""


def differing(old: Section, new: Section, table: str = "") -> Iterator[str]:
    """The dotted keys whose values are not the same."""
    for name in type(old).model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, Section):
            yield from differing(before, after, f"{table}{name}.")
        elif before != after:
            yield f"{table}{name}"


def taken_over(running: Settings, wanted: Settings) -> Settings:
    """The settings that run, with what can change as it is wanted."""

    def take(settings: Settings, key: str) -> Settings:
        table, _, name = key.rpartition(".")
        if not table:
            return settings.model_copy(update={name: getattr(wanted, name)})
        section = getattr(settings, table).model_copy(update={name: getattr(getattr(wanted, table), name)})
        return settings.model_copy(update={table: section})

    return reduce(take, RELOADABLE, running)


class Reload:
    """Reads the settings again when asked to.

    Attributes:
        refused: why the last attempt changed nothing, in a line; empty after one that was taken.
    """

    def __init__(
        self,
        running: Settings,
        reread: Callable[[], Loaded],
        apply: Callable[[Settings], None],
        supervisor: Supervisor,
    ) -> None:
        """Begin with the settings that run; ``apply`` puts what is :data:`RELOADABLE` into effect."""
        self.refused = ""
        self._running = running
        self._reread = reread
        self._apply = apply
        self._supervisor = supervisor

    async def run(self, asked: asyncio.Event) -> None:
        """Reload each time that it is asked for, for ever."""
        while True:
            await asked.wait()
            asked.clear()
            self._supervisor.reloading()
            try:
                await self._reload()
            finally:
                self._supervisor.ready()

    async def _reload(self) -> None:
        try:
            wanted = await asyncio.to_thread(self._read)
        except (SettingsError, OSError) as error:
            errors = str(error).splitlines()
            self.refused = errors[0]
            # what is wrong is in the files: a trace would tell nothing
            log.error("settings_not_reloaded", errors=errors, meaning="the old ones go on")  # noqa: TRY400
            return
        running = taken_over(self._running, wanted)
        changed = sorted(differing(self._running, running))
        self._running, self.refused = running, ""
        self._apply(running)
        log.info("settings_reloaded", changed=changed)
        if restart := sorted(differing(running, wanted)):
            log.warning("settings_need_a_restart", keys=restart, meaning="until then the old values go on")

    def _read(self) -> Settings:
        loaded = self._reread()
        # the next start would fail on these; better to hear of that now
        if loaded.settings.domain != self._running.domain:
            load_catalogue(loaded.settings.domain)
        if loaded.settings.readmodel != self._running.readmodel:
            load_projections(loaded.settings.readmodel)
        for warning in loaded.warnings:
            log.warning("settings_warning", warning=warning)
        return loaded.settings
