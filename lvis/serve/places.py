"""Places for `max_sessions` sessions, and the line in front of them."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from lvis.errors import UserError


class _Ticket:
    def __init__(self) -> None:
        self.moved = asyncio.Event()
        self.called = False


class Places:
    """First come, first served; belongs to one event loop.

    Attributes:
        taken: places in use.
        waiting: visitors in the line.
    """

    def __init__(self, count: int, longest_line: int) -> None:
        self.count, self.longest_line = count, longest_line
        self.taken = 0
        self._line: deque[_Ticket] = deque()

    @property
    def waiting(self) -> int:
        return len(self._line)

    @asynccontextmanager
    async def place(self, tell: Callable[[int, int], None]) -> AsyncIterator[None]:
        """A place for as long as the context lasts.

        Args:
            tell: is given one's position in the line, from 1, and the line's length, whenever they
                change; it must not wait.

        Raises:
            UserError: the line is full.
        """
        if self.taken >= self.count and self.waiting >= self.longest_line:
            raise UserError(
                f"{self.taken} clips are being restored and {self.waiting} are waiting, the most "
                "that this server takes; try again in a few minutes"
            )
        ticket = _Ticket()
        self._line.append(ticket)
        self._move()
        try:
            while not ticket.called:
                ticket.moved.clear()
                tell(self._line.index(ticket) + 1, len(self._line))
                await ticket.moved.wait()
            yield
        finally:
            if ticket.called:
                self.taken -= 1
            else:
                self._line.remove(ticket)
            self._move()

    def _move(self) -> None:
        while self._line and self.taken < self.count:
            ticket = self._line.popleft()
            ticket.called = True
            self.taken += 1
            ticket.moved.set()
        for ticket in self._line:
            ticket.moved.set()
