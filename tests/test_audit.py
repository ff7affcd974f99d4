import json
import logging

import pytest

from shared.audit import AuditedEntry, AuditLog

WHO = {"request_id": "r", "client_id": "c", "secret_id": "s", "tenant": "t"}
LINE = {"request": "r", "client": "c", "secret": "s", "tenant": "t", "status": 200}


@pytest.fixture(autouse=True)
def _at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.audit")


def line(caplog: pytest.LogCaptureFixture) -> dict[str, object]:
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("gateway.audit", logging.INFO)
    assert "\n" not in record.getMessage()
    found: dict[str, object] = json.loads(record.getMessage())
    return found


def test_a_token_request_is_one_line_of_json(caplog: pytest.LogCaptureFixture) -> None:
    AuditLog().token_request(event="token", **WHO, status=200, error="", kind="", milliseconds=1.26)
    assert line(caplog) == {"event": "token", **LINE, "error": "", "kind": "", "ms": 1.3}


def test_a_fhir_request_is_one_line_of_json_with_a_batchs_entries_counted(caplog: pytest.LogCaptureFixture) -> None:
    entries = [AuditedEntry("read", "Patient", 200)] * 499 + [AuditedEntry("", "", 400)]
    hops = {"upstream": 10.04, "auth": 0.25}
    AuditLog().fhir_request(
        **WHO,
        base="stu3",
        interaction="batch",
        type="",
        status=200,
        kind="timed-out",
        received=0,
        sent=12,
        hops=hops,
        entries=entries,
    )
    what = {"base": "stu3", "interaction": "batch", "type": "", "kind": "timed-out", "received": 0, "sent": 12}
    counted = {"read Patient 200": 499, "  400": 1}
    assert line(caplog) == {"event": "fhir", **LINE, **what, "ms": {"upstream": 10.0, "auth": 0.2}, "entries": counted}


def test_a_change_is_one_line_of_json_whatever_is_in_it(caplog: pytest.LogCaptureFixture) -> None:
    change = {"actor": 'ann"\n', "action": "client.disable", "subject": "c"}
    AuditLog().change(**change)
    assert line(caplog) == {"event": "change", **change, "detail": ""}


def test_nothing_is_written_where_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "gateway.audit")
    AuditLog().change(actor="ann", action="client.disable", subject="c")
    assert caplog.records == []
