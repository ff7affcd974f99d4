"""The parameter `scope` of a token request: one tenant, and the SMART system scopes that narrow it."""

from shared.directory.tenant_id import parse_tenant_id
from shared.fhir.scopes import Scope, parse_scope
from shared.oauth.errors import InvalidScope

_MAX_LENGTH = 1_500  # a token that holds it stays well below 4,096 characters


def parse_scope_request(scope: str) -> tuple[str, tuple[Scope, ...]]:
    """The tenant's GUID and the SMART scopes asked for, in their order (RFC 6749 section 3.3).

    Raises InvalidScope for none or several tenants and for anything that is no SMART system scope: to leave out what
    isn't understood could grant more than was asked for.
    """
    if len(scope) > _MAX_LENGTH:
        raise InvalidScope("the scope is too long")
    names = scope.split()
    tenants = {tenant for name in names if (tenant := parse_tenant_id(name)) is not None}
    if len(tenants) != 1:
        raise InvalidScope("the scope must name one tenant that this client may reach")
    scopes = [parse_scope(name) for name in names if parse_tenant_id(name) is None]
    if None in scopes:
        raise InvalidScope("beside the tenant the scope takes SMART system scopes only")
    return tenants.pop(), tuple(dict.fromkeys(found for found in scopes if found is not None))
