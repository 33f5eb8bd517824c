"""An inbox in memory; the contract suite keeps it honest."""

from collections.abc import Sequence

from gateway.messages import Parked, ParkedEntry


class MemoryInbox:
    def __init__(self) -> None:
        self.commands: dict[int, Parked] = {}

    async def waiting(self) -> Sequence[ParkedEntry]:
        return [self.commands[arrival].entry for arrival in sorted(self.commands)]

    async def park(self, commands: Sequence[Parked]) -> frozenset[int]:
        kept = set()
        for command in commands:
            copies = {parked.copy_of for parked in self.commands.values()} - {None}
            if command.copy_of not in copies:
                self.commands[command.entry.arrival] = command
                kept.add(command.entry.arrival)
        return frozenset(kept)

    async def read(self, device: str, *, after: int, limit: int) -> Sequence[Parked]:
        found = [self.commands[arrival] for arrival in sorted(self.commands) if arrival > after]
        return [command for command in found if command.entry.device == device][:limit]

    async def remove(self, arrivals: Sequence[int]) -> None:
        for arrival in arrivals:
            self.commands.pop(arrival, None)
