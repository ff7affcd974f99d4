import json
import logging

import pytest

from shared.audit import AuditedEntry, AuditLog


def line(caplog: pytest.LogCaptureFixture) -> dict[str, object]:
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("gateway.audit", logging.INFO)
    assert "\n" not in record.getMessage()
    found: dict[str, object] = json.loads(record.getMessage())
    return found


@pytest.fixture(autouse=True)
def _at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.audit")


def test_a_token_request_is_one_line_of_json(caplog: pytest.LogCaptureFixture) -> None:
    AuditLog().token_request(
        request_id="r", client_id="c", secret_id="s", tenant="t", status=200, error="", milliseconds=1.26
    )
    assert line(caplog) == {
        "event": "token",
        "request": "r",
        "client": "c",
        "secret": "s",
        "tenant": "t",
        "status": 200,
        "error": "",
        "ms": 1.3,
    }


def test_a_fhir_request_is_one_line_of_json(caplog: pytest.LogCaptureFixture) -> None:
    AuditLog().fhir_request(
        request_id="r",
        client_id="c",
        secret_id="s",
        tenant="t",
        base="stu3",
        interaction="read",
        type="Patient",
        status=200,
        received=0,
        sent=12,
        hops={"upstream": 10.04, "auth": 0.25},
    )
    assert line(caplog) == {
        "event": "fhir",
        "request": "r",
        "client": "c",
        "secret": "s",
        "tenant": "t",
        "base": "stu3",
        "interaction": "read",
        "type": "Patient",
        "status": 200,
        "received": 0,
        "sent": 12,
        "ms": {"upstream": 10.0, "auth": 0.2},
    }


def test_the_entries_of_a_batch_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    entries = [AuditedEntry("read", "Patient", 200)] * 499 + [AuditedEntry("", "", 400)]
    AuditLog().fhir_request(
        request_id="r",
        client_id="c",
        secret_id="s",
        tenant="t",
        base="stu3",
        interaction="batch",
        type="",
        status=200,
        received=9,
        sent=12,
        hops={},
        entries=entries,
    )
    assert line(caplog)["entries"] == {"read Patient 200": 499, "  400": 1}


def test_a_change_is_one_line_of_json_whatever_is_in_it(caplog: pytest.LogCaptureFixture) -> None:
    AuditLog().change(actor='ann"\n', action="client.disable", subject="c")
    assert line(caplog) == {
        "event": "change",
        "actor": 'ann"\n',
        "action": "client.disable",
        "subject": "c",
        "detail": "",
    }


def test_nothing_is_written_where_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "gateway.audit")
    AuditLog().change(actor="ann", action="client.disable", subject="c")
    assert caplog.records == []
