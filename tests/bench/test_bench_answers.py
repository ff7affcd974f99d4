"""The benchmark's provider answers what the figures say it does."""

import json
from collections.abc import Callable

import pytest

from bench import answers
from shared.fhir.batch import BatchEntry, batch_entries
from shared.fhir.document import run
from shared.fhir.json_document import read
from shared.fhir.rewriting import LinkMap

_BASE = "http://127.0.0.1:8101/fhir"


@pytest.mark.parametrize(
    ("answer", "size"), [(answers.patient, 2_000), (answers.searchset, 23_000), (answers.large, 1_000_000)]
)
def test_an_answer_has_the_size_it_is_named_by(answer: Callable[[str], bytes], size: int) -> None:
    assert len(answer(_BASE)) == pytest.approx(size, rel=0.05)


def test_a_searchset_has_forty_full_urls_of_the_provider() -> None:
    bundle = json.loads(answers.searchset(_BASE))
    assert [entry["fullUrl"] for entry in bundle["entry"]] == [f"{_BASE}/Observation/o{n}" for n in range(40)]


def test_a_batch_is_one_that_the_gateway_takes() -> None:
    bundle = run(read(answers.batch(7))).bundle
    assert bundle is not None
    entries = run(batch_entries(bundle, LinkMap((_BASE,), _BASE)))
    assert [entry.interaction.path for entry in entries if isinstance(entry, BatchEntry)] == [
        f"Patient/p{n}" for n in range(7)
    ]
