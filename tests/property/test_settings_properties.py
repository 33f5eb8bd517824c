"""The layers and the line numbers of the settings hold for any combination, not only for the examples."""

import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from gateway.settings_loader import _leaves, _lines, load_settings

LAYERS: Final = ("file", "10.toml", "20.toml", "env", "credentials")

STATEMENTS: Final = (
    "key{n} = {n}",
    "key{n} = [\n  1,  # [not.a.table]\n\n  2,\n]",
    'key{n} = """\n[text]\nkey0 = 1\n"""',
    "key{n} = {{ inside = {n}, empty = {{}} }}",
    "key{n}.below = 'a # b'",
    "[table{n}]",
    "[table{n}.deep]",
    "[[array]]",
    "[[outer{n}.array]]",
    "# [comment{n}]",
    "",
)


@given(given_in=st.sets(st.sampled_from(LAYERS)))
def test_the_highest_layer_that_sets_a_value_wins(given_in: set[str]) -> None:
    with TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "conf.d").mkdir()
        files = {
            "file": directory / "gateway.toml",
            "10.toml": directory / "conf.d" / "10.toml",
            "20.toml": directory / "conf.d" / "20.toml",
        }
        files["file"].touch()
        for layer in given_in & files.keys():
            files[layer].write_text(f'[mqtt]\npassword = "{layer}"\n')
        environ = {"CREDENTIALS_DIRECTORY": name}
        if "env" in given_in:
            environ["GATEWAY_MQTT__PASSWORD"] = "env"
        if "credentials" in given_in:
            (directory / "mqtt_password").write_text("credentials\n")
        loaded = load_settings(files["file"], environ)
    winner = next((layer for layer in reversed(LAYERS) if layer in given_in), "")
    assert loaded.settings.mqtt.password.get_secret_value() == winner
    assert files.get(winner, Path(winner)).name in loaded.origins.get("mqtt.password", "")


@given(statements=st.lists(st.sampled_from(STATEMENTS), max_size=12))
def test_every_key_of_any_document_has_the_line_on_which_it_begins(statements: list[str]) -> None:
    text = "\n".join(statement.format(n=number) for number, statement in enumerate(statements))
    lines = _lines(text)
    for key, _ in _leaves(tomllib.loads(text)):
        if key:
            names = [name for name in key if isinstance(name, str)]
            assert names[-1] in text.split("\n")[lines[key] - 1]
