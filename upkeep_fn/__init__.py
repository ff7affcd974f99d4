"""The night's work: checks, what has expired, what is about to end."""

import azure.functions as func

from shared.functions import application

_application = application()


async def main(timer: func.TimerRequest) -> None:
    await _application.upkeep.nightly()
