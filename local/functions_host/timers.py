"""Timer functions, by the rules of the host's timer extension (TimerListener).

A schedule is UTC's. A function runs once at a time; what comes due meanwhile is made up for by one run, at once. An
error is logged and ends nothing. What is not here is the status that the host keeps in the app's storage, by which it
makes up for a run that came due while no instance was awake.
"""

import asyncio
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from azure.functions.timer import TimerRequest
from croniter import CroniterError, croniter

from local.functions_host.functions import LoadError, Script, declared, entry_point, read_script, selected
from local.functions_host.logs import running_function

_FIELDS = 6


@dataclass(frozen=True, slots=True)
class Timer(Script):
    """A timer function; `schedule` is an NCRONTAB expression, whose first field is the second."""

    schedule: str

    def next(self, after: datetime) -> datetime:
        """When it is due next. Unlike cron's, a day of the month and one of the week must both fit."""
        due: datetime = croniter(self.schedule, after, second_at_beginning=True, day_or=False).get_next(datetime)
        return due


@dataclass(frozen=True, slots=True)
class LoadedTimer(Timer):
    """A timer function whose script is imported: `main` is its entry point."""

    main: Callable[..., Any]
    is_async: bool


T = TypeVar("T", bound=Timer)


def load_timers(root: Path, only: Collection[str] = (), without: Collection[str] = ()) -> list[LoadedTimer]:
    """The timers that `find_timers` finds, imported. Raises LoadError."""
    return [LoadedTimer(**declared(timer), **entry_point(timer, root)) for timer in find_timers(root, only, without)]


def find_timers(root: Path, only: Collection[str] = (), without: Collection[str] = ()) -> list[Timer]:
    """The timer functions below `root`, selected as HTTP functions are. Raises LoadError."""
    found = (read_script(folder, "timerTrigger") for folder in selected(root, only, without))
    return [_timer(trigger, script) for trigger, script in filter(None, found)]


def _timer(trigger: dict[str, Any], script: Script) -> Timer:
    timer = Timer(**declared(script), schedule=str(trigger.get("schedule", "")))
    try:
        timer.next(datetime.now(UTC))
    except CroniterError as error:
        raise LoadError(f"{timer.name}: schedule: {error}") from None
    if len(timer.schedule.split()) != _FIELDS:
        raise LoadError(f"{timer.name}: schedule has not six fields: {timer.schedule}")
    return timer


@asynccontextmanager
async def scheduled(timers: Sequence[T], invoke: Callable[[T], Awaitable[None]]) -> AsyncIterator[None]:
    """Has `invoke` called for each timer as it comes due, until left."""
    tasks = [asyncio.create_task(_keep(timer, invoke)) for timer in timers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def invoke_timer(timer: LoadedTimer) -> None:
    """Calls a timer function in this process."""
    running_function.set(timer.name)
    call = {timer.trigger: TimerRequest()}
    await (timer.main(**call) if timer.is_async else asyncio.to_thread(timer.main, **call))


async def _keep(timer: T, invoke: Callable[[T], Awaitable[None]]) -> None:
    began = datetime.now(UTC)
    while True:
        due = timer.next(began)
        await asyncio.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))
        began = max(due, datetime.now(UTC))  # a clock that is behind would have it due a second time
        try:
            await invoke(timer)
        except Exception:
            print(f"{timer.name} failed:", file=sys.stderr)
            traceback.print_exc()
