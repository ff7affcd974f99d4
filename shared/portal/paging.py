"""Long lists, a page at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list: `number` counts from 1, `total` are the list's items."""

    items: Sequence[T]
    number: int
    total: int

    @property
    def count(self) -> int:
        """How many pages there are; an empty list has one."""
        return max(1, -(-self.total // PAGE_SIZE))

    @property
    def first(self) -> int:
        """The place of the page's first item in the list, from 1."""
        return (self.number - 1) * PAGE_SIZE + 1


def page_of(items: Sequence[T], number: str) -> Page[T]:
    """The page a query asks for; the first or the last for a number that is none or too large."""
    count = max(1, -(-len(items) // PAGE_SIZE))
    wanted = int(number) if number.isascii() and number.isdigit() and len(number) < 6 else 1
    place = min(max(wanted, 1), count)
    return Page(items[(place - 1) * PAGE_SIZE : place * PAGE_SIZE], place, len(items))
