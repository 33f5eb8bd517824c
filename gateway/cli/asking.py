"""How subcommands ask: the state directory, or a gateway through its broker, by the same queries."""

from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from gateway.cli.broker_options import add_actor, add_broker, add_timeout
from gateway.cli.exit_status import Exit
from gateway.cli.options import add_config

LARGEST_PAGE: Final = 500

_REMOTE: Final = ("actor", "host", "port", "username", "password_file", "root")
_EPILOG: Final = (
    "Asks the state directory, whether the gateway runs or not. With --remote, or any option that names a broker or "
    "an actor, asks the running gateway through its broker. "
    "Exit status: 0 answered, 1 unknown, 69 no broker, 75 no answer in time, 77 not permitted, "
    "78 the settings are wrong."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query found, as JSON values.

    Attributes:
        next: the parameters to be changed for the next page; ``None`` behind the last one.
    """

    result: Any
    next: Mapping[str, Any] | None = None


class Questions(Protocol):
    """Whom to ask."""

    async def ask(self, query: str, parameters: Mapping[str, object]) -> Answer:
        """The answer to a query.

        Raises:
            Refusal: it has none, or not for whoever asks.
            Unavailable: broker or store is away.
            PublishRefused: the broker does not let whoever asks in, or not ask.
        """
        ...


def add_source(parser: ArgumentParser) -> None:
    """Every option that says whom to ask."""
    parser.epilog = _EPILOG
    add_config(parser)
    group = parser.add_argument_group("remote", "ask the running gateway through its broker")
    group.add_argument("--remote", action="store_true", help="with the broker that the settings name")
    add_actor(group, "who asks")
    add_timeout(group)
    add_broker(group)


def is_remote(options: Namespace) -> bool:
    """Whether the running gateway is to be asked."""
    return options.remote or any(getattr(options, name) is not None for name in _REMOTE)


def asking(options: Namespace, show: Callable[[Questions, Namespace], Awaitable[Exit]]) -> Exit:
    """Ask whom the options name; what comes of showing it.

    Raises:
        SettingsError: the settings cannot be used.
        StateError: there is no log, or it cannot be read.
        Refusal, Unavailable, PublishRefused: as :meth:`Questions.ask`.
    """
    import asyncio

    async def ask() -> Exit:
        async with open_questions(options) as questions:
            return await show(questions, options)

    return asyncio.run(ask())


@asynccontextmanager
async def open_questions(options: Namespace) -> AsyncIterator[Questions]:
    """Whom the options name."""
    if is_remote(options):
        from gateway.cli.remote_questions import open_remote_questions

        async with open_remote_questions(options) as remote:
            yield remote
    else:
        from gateway.cli.local_questions import LocalQuestions
        from gateway.cli.read_side import open_read_side

        async with open_read_side(options.config) as side:
            yield LocalQuestions(side)


async def pages(questions: Questions, query: str, parameters: Mapping[str, object]) -> AsyncIterator[Answer]:
    """Every page of an answer."""
    following: Mapping[str, object] = {}
    while True:
        answer = await questions.ask(query, {**parameters, **following})
        yield answer
        if answer.next is None:
            return
        following = answer.next
