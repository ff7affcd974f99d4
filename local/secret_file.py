"""Files that only their owner may read."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def write(path: Path, data: bytes) -> None:
    """Replaces the file in one step, with mode 0600: whoever reads it sees the old content or the new, whole."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def read_or_create(path: Path, create: Callable[[], str]) -> str:
    """The file's text; if there is no file, what `create` returns, written there first."""
    if not path.exists():
        write(path, create().encode())
    return path.read_text()
