"""Logging at the levels of an app's `host.json`."""

import logging
from contextvars import ContextVar
from typing import Any

from local.functions_host.functions import LoadError

_LEVELS = {
    "Trace": logging.DEBUG,
    "Debug": logging.DEBUG,
    "Information": logging.INFO,
    "Warning": logging.WARNING,
    "Error": logging.ERROR,
    "Critical": logging.CRITICAL,
    "None": logging.CRITICAL + 1,
}

# Whatever a running function logs, by any logger, the host takes for the category `Function.<name>.User`.
running_function: ContextVar[str | None] = ContextVar("running_function", default=None)


class Levels(logging.Filter):
    """Drops records below the level of their category. Raises LoadError for a level that the host doesn't know."""

    def __init__(self, host: dict[str, Any]) -> None:
        super().__init__()
        levels = {"default": "Information"} | host.get("logging", {}).get("logLevel", {})
        for category, level in levels.items():
            if level not in _LEVELS:
                raise LoadError(f"host.json: logLevel of {category} must be one of {', '.join(_LEVELS)}")
        self._default = _LEVELS[levels.pop("default")]
        self._levels = {category.lower(): _LEVELS[level] for category, level in levels.items()}

    def level(self, category: str) -> int:
        """The level of the longest rule that `category` begins with, as .NET's logging has it."""
        rules = [rule for rule in self._levels if category.lower().startswith(rule)]
        return self._levels[max(rules, key=len)] if rules else self._default

    def filter(self, record: logging.LogRecord) -> bool:
        name = running_function.get()
        return record.levelno >= self.level(f"Function.{name}.User" if name else record.name)


def configure_logging(host: dict[str, Any]) -> None:
    """Logs to stderr at the levels of `host.json`. Like the worker, takes no DEBUG from anybody."""
    handler = logging.StreamHandler()
    handler.addFilter(Levels(host))
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.INFO, handlers=[handler])
    # It would log the lines of a malformed request as they are, with what must not be in a log.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
