"""The audit log: who did what for which tenant and how it ended, one JSON line each, without any patient's data."""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson

_MAX_TOGETHER = 16_384  # characters of lines in one record: a message of Application Insights ends at 32,768

_log = logging.getLogger("gateway.audit")


@dataclass(frozen=True, slots=True)
class AuditedEntry:
    """An entry of a batch: its interaction and type, "" where it has none that FHIR knows, and its status."""

    interaction: str
    type: str
    status: int


class AuditLog:
    """Writes one line per token request, FHIR request and change to the logger `gateway.audit`, at INFO.

    Nothing a line holds comes from a path, a query, a body or a header, except a request id of a safe form.

    In the Functions worker a record is a message of its own to the host, which costs a sixth to a quarter of a request.
    So requests that end in the same turn of the event loop share a record, a line each. It is written before any of
    them has its response: the host drops what is logged in an invocation that has ended.
    """

    def __init__(self) -> None:
        self._ended: list[str] = []

    async def token_request(
        self,
        *,
        event: str,
        request_id: str,
        client_id: str,
        secret_id: str,
        tenant: str,
        status: int,
        error: str,
        kind: str,
        milliseconds: float,
    ) -> None:
        """A request for a token (`event` is token), to revoke or to introspect one, and its outcome.

        `client_id` is one that the directory knows: the client's that authenticated or, with the error
        invalid_client, the one that was claimed. `secret_id` is empty unless the client authenticated. `kind` is an
        ErrorKind, which tells what the client is not told, or "".
        """
        fields = {
            "event": event,
            "request": request_id,
            "client": client_id,
            "secret": secret_id,
            "tenant": tenant,
            "status": status,
            "error": error,
            "kind": kind,
            "ms": round(milliseconds, 1),
        }
        await self._write_together(fields)

    async def fhir_request(
        self,
        *,
        request_id: str,
        client_id: str,
        secret_id: str,
        tenant: str,
        base: str,
        interaction: str,
        type: str,
        status: int,
        kind: str,
        received: int,
        sent: int,
        hops: Mapping[str, float],
        entries: Sequence[AuditedEntry] = (),
    ) -> None:
        """A FHIR request and its outcome; `received` and `sent` are bytes of bodies, `hops` milliseconds by hop.

        `kind` is an ErrorKind or ""; with a 401 the token that names client and tenant is expired or revoked.
        A batch's `entries` are counted, `{"read Patient 200": 3}`: a line of Application Insights ends at 32,768
        characters, which five hundred entries one by one may pass.
        """
        fields: dict[str, object] = {
            "event": "fhir",
            "request": request_id,
            "client": client_id,
            "secret": secret_id,
            "tenant": tenant,
            "base": base,
            "interaction": interaction,
            "type": type,
            "status": status,
            "kind": kind,
            "received": received,
            "sent": sent,
            "ms": {hop: round(milliseconds, 1) for hop, milliseconds in hops.items()},
        }
        if entries:
            fields["entries"] = Counter(f"{entry.interaction} {entry.type} {entry.status}" for entry in entries)
        await self._write_together(fields)

    def change(self, *, actor: str, action: str, subject: str, detail: str = "") -> None:
        """A change to the directory: who made it, what it was (`client.disable`), and to which client, tenant or key.

        `detail` names columns or ids, never a value of theirs.
        """
        self._write({"event": "change", "actor": actor, "action": action, "subject": subject, "detail": detail})

    def expiry(self, *, subject: str, name: str, expires: datetime) -> None:
        """A secret or a certificate that ends soon: whose it is, its name and its last day, never its value."""
        line = {"event": "expiry", "subject": subject, "detail": f"{name} ends {expires:%Y-%m-%d}"}
        _log.warning("%s", orjson.dumps(line).decode())

    def upkeep(self, numbers: Mapping[str, object]) -> None:
        """A run of the night's work, in numbers."""
        self._write({"event": "upkeep", **numbers})

    def _write(self, fields: Mapping[str, object]) -> None:
        if _log.isEnabledFor(logging.INFO):
            _log.info("%s", orjson.dumps(fields).decode())

    async def _write_together(self, fields: Mapping[str, object]) -> None:
        """Writes a request's line and those of the requests that end in the same turn as one record.

        A 500's is one by itself: an alert looks for it under its own invocation (`infra/queries/hostErrors.kql`).
        """
        if not _log.isEnabledFor(logging.INFO):
            return
        if fields["status"] == 500:
            self._write(fields)
            return
        line = orjson.dumps(fields).decode()
        if sum(map(len, self._ended)) + len(line) > _MAX_TOGETHER:
            self._write_ended()
        self._ended.append(line)
        try:
            await asyncio.sleep(0)
        finally:
            self._write_ended()

    def _write_ended(self) -> None:
        if self._ended:
            _log.info("%s", "\n".join(self._ended))
            self._ended.clear()
