"""A copy of the templates to break, so that each check is seen to fail."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.infra.templates import INFRA

Break = Callable[[str, str, str], Path]


@pytest.fixture
def broken(tmp_path: Path) -> Break:
    """Gives a copy of `infra` in which a text of one file is replaced by another."""

    def change(file: str, old: str, new: str) -> Path:
        infra = tmp_path / "infra"
        shutil.copytree(INFRA, infra)
        source = (infra / file).read_text()
        assert old in source
        (infra / file).write_text(source.replace(old, new))
        return infra

    return change
