"""A supervisor that remembers what it is told; see :class:`~gateway.ports.Supervisor`."""

from dataclasses import dataclass, field


@dataclass
class RecordingSupervisor:
    watchdog: float | None = None
    heard: list[str] = field(default_factory=list)

    def ready(self) -> None:
        self.heard.append("ready")

    def reloading(self) -> None:
        self.heard.append("reloading")

    def stopping(self) -> None:
        self.heard.append("stopping")

    def status(self, text: str) -> None:
        self.heard.append(text)

    def alive(self) -> None:
        self.heard.append("alive")
