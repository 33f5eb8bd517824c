"""Inputs that reach ever more of the code, made by atheris: ``python -m tests.fuzz TARGET [option of libFuzzer] …``.

The targets are ``commands``, ``queries`` and ``packets``; what must hold of an input is what the property tests say.
One that breaks it is left in a file, and can be given as an option to try it again.
"""

import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

# only "make fuzz" installs it
atheris: Any = import_module("atheris")

with atheris.instrument_imports(include=["gateway"]):
    from tests.fuzz.targets import SEEDS, WORDS, commands, packets, queries

TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {"commands": commands, "queries": queries, "packets": packets}


def main(arguments: list[str]) -> int:
    """Does not return, but for wrong usage: libFuzzer ends the process."""
    match arguments:
        case [name, *options] if name in TARGETS:
            with tempfile.TemporaryDirectory() as directory:
                corpus, words = Path(directory, "corpus"), Path(directory, "words")
                corpus.mkdir()
                for number, seed in enumerate(SEEDS[name]):
                    (corpus / str(number)).write_bytes(seed)
                words.write_text("".join(f'"{_escaped(word)}"\n' for word in WORDS))
                # the largest payload that is taken, and its properties
                limits = ["-max_len=70000", "-timeout=10", f"-dict={words}"]
                atheris.Setup([sys.argv[0], *limits, *options, str(corpus)], TARGETS[name])
                atheris.Fuzz()
    print(__doc__)  # noqa: T201 - it is what the command is for
    return 2


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
