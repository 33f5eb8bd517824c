import asyncio
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from gateway.errors import SettingsError
from gateway.reload import RELOADABLE, Reload, differing, taken_over
from gateway.settings import LimitSettings, LogSettings, MqttSettings, OperatorSettings, Settings
from gateway.settings_loader import Loaded, load_settings
from tests.support.recording_supervisor import RecordingSupervisor

RUNNING = Settings()
WANTED = Settings(
    mqtt=MqttSettings(port=8_883, password="other"),  # type: ignore[arg-type]
    operators=(OperatorSettings(actors=("alice",)),),
    limits=LimitSettings(burst=7, batch=8),
    log=LogSettings(level="debug", format="json"),
)


async def reload_once(reload: Reload, supervisor: RecordingSupervisor) -> None:
    asked = asyncio.Event()
    asked.set()
    supervisor.heard.clear()
    running = asyncio.create_task(reload.run(asked))
    while supervisor.heard[-1:] != ["ready"]:
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait((running,))


def reader(*results: Settings | Exception) -> Callable[[], Loaded]:
    """What reads the settings: each time the next of these."""
    left = iter(results)

    def read() -> Loaded:
        settings = next(left)
        if isinstance(settings, Exception):
            raise settings
        return Loaded(settings, {})

    return read


def test_what_differs_is_named_by_its_key_and_secrets_count() -> None:
    assert set(differing(RUNNING, WANTED)) == {
        "mqtt.port",
        "mqtt.password",
        "operators",
        "limits.burst",
        "limits.batch",
        "log.level",
        "log.format",
    }


def test_what_can_change_does_and_the_rest_stays() -> None:
    running = taken_over(RUNNING, WANTED)
    assert set(differing(RUNNING, running)) == {"operators", "limits.burst", "log.level"}
    assert (running.limits.burst, running.operators, running.mqtt) == (7, WANTED.operators, RUNNING.mqtt)


def test_each_key_that_can_be_reloaded_is_a_setting() -> None:
    keys = {
        f"{name}.{key}"
        for name, table in Settings.model_fields.items()
        for key in getattr(table.annotation, "model_fields", ())
    }
    assert keys | {"operators"} >= RELOADABLE


async def test_the_supervisor_hears_of_the_beginning_and_the_end() -> None:
    supervisor, applied = RecordingSupervisor(), list[Settings]()
    await reload_once(Reload(RUNNING, reader(WANTED), applied.append, supervisor), supervisor)
    assert supervisor.heard == ["reloading", "ready"]
    assert applied == [taken_over(RUNNING, WANTED)]


@pytest.mark.parametrize("error", [SettingsError("one\ntwo"), PermissionError("one")])
async def test_an_error_changes_nothing_and_is_told_until_it_is_gone(error: Exception) -> None:
    supervisor, applied = RecordingSupervisor(), list[Settings]()
    reload = Reload(RUNNING, reader(error, WANTED), applied.append, supervisor)
    await reload_once(reload, supervisor)
    assert (reload.refused, applied, supervisor.heard) == ("one", [], ["reloading", "ready"])
    await reload_once(reload, supervisor)
    assert (reload.refused, len(applied)) == ("", 1)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"a = {'[' * 3_000}{']' * 3_000}", "nested too deep"),
        ('[domain]\ndeciders = ["ends_itself:X"]', "ends_itself:X cannot be imported: SystemExit: 3"),
        ('[readmodel]\nprojections = ["ends_itself:X"]', "ends_itself:X cannot be imported: SystemExit: 3"),
    ],
    ids=["nested", "decider", "projection"],
)
async def test_a_file_or_module_that_would_end_any_other_program_does_not_end_the_gateway(
    text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ends_itself.py").write_text("import sys\nsys.exit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    supervisor, applied = RecordingSupervisor(), list[Settings]()
    reload = Reload(RUNNING, partial(load_settings, file, {}), applied.append, supervisor)
    await reload_once(reload, supervisor)
    assert told in reload.refused
    assert applied == []
    assert "ends_itself" not in sys.modules
