"""What of an app's logs is written: the levels of its `host.json`."""

import logging
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


def configure_logging(host: dict[str, Any]) -> None:
    """Logs to stderr at the levels of `host.json`, whose categories are the loggers' names."""
    levels = {"default": "Information"} | host.get("logging", {}).get("logLevel", {})
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    for category, level in levels.items():
        if level not in _LEVELS:
            raise LoadError(f"host.json: logLevel of {category} must be one of {', '.join(_LEVELS)}")
        logging.getLogger(None if category == "default" else category).setLevel(_LEVELS[level])
    # It would log the lines of a malformed request as they are, with what must not be in a log.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
