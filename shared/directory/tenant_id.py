"""Tenant IDs: the GUID of an Entra tenant in its one canonical spelling."""

import re

_GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def parse_tenant_id(text: str) -> str | None:
    """The GUID in lower case, without the braces and spaces people paste along with it; None when it is no GUID."""
    bare = text.strip()
    if bare.startswith("{") and bare.endswith("}"):
        bare = bare[1:-1].strip()
    lower = bare.lower()
    return lower if _GUID.fullmatch(lower) else None
