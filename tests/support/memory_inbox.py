"""An inbox in memory; the contract suite keeps it honest."""

from collections.abc import Sequence

from gateway.messages import Parked, ParkedEntry


class MemoryInbox:
    def __init__(self) -> None:
        self.commands: dict[int, Parked] = {}

    async def waiting(self) -> Sequence[ParkedEntry]:
        return [self.commands[arrival].entry for arrival in sorted(self.commands)]

    async def park(self, commands: Sequence[Parked]) -> Sequence[int]:
        kept = []
        for command in commands:
            copies: dict[bytes | None, int] = {
                one.copy_of: arrival for arrival, one in self.commands.items() if one.copy_of is not None
            }
            kept.append(copies.get(command.copy_of, command.entry.arrival))
            self.commands.setdefault(kept[-1], command)
        return kept

    async def read(self, device: str, *, after: int, limit: int) -> Sequence[Parked]:
        found = [self.commands[arrival] for arrival in sorted(self.commands) if arrival > after]
        return [command for command in found if command.entry.device == device][:limit]

    async def remove(self, arrivals: Sequence[int]) -> None:
        for arrival in arrivals:
            self.commands.pop(arrival, None)
