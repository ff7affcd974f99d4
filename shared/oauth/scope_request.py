"""The parameter `scope` of a token request: one tenant, and the SMART system scopes that narrow it."""

from shared.directory.tenant_id import parse_tenant_id
from shared.fhir.scopes import Scope, parse_scope
from shared.oauth.errors import InvalidScope

_MAX_LENGTH = 1_500  # a token that holds it stays well below 4,096 characters
_ASK = "send the tenant's GUID as the scope"


def parse_scope_request(scope: str) -> tuple[str, tuple[Scope, ...]]:
    """The tenant's GUID and the SMART scopes asked for, in their order (RFC 6749 section 3.3).

    Raises InvalidScope, which says what to do, for none or several tenants and for anything that is no SMART system
    scope: to leave out what isn't understood could grant more than was asked for.
    """
    if len(scope) > _MAX_LENGTH:
        raise InvalidScope("the scope is too long")
    names = scope.split()
    if not names:
        raise InvalidScope(f"the scope is missing: {_ASK}")
    tenants = {tenant for name in names if (tenant := parse_tenant_id(name)) is not None}
    others = [name for name in names if parse_tenant_id(name) is None]
    scopes = [found for name in others if (found := parse_scope(name)) is not None]
    if len(tenants) > 1:
        raise InvalidScope("the scope names several tenants: ask for a token for each")
    if not tenants and len(scopes) == len(names):
        raise InvalidScope(f"the scope has SMART scopes only: {_ASK}, and these after it")
    if not tenants:
        raise InvalidScope(f"the scope has no GUID: {_ASK} (32 hexadecimal digits in 8-4-4-4-12), not its name or URL")
    if len(scopes) < len(others):
        raise InvalidScope("beside the tenant the scope takes SMART system scopes only, such as system/Patient.read")
    return tenants.pop(), tuple(dict.fromkeys(scopes))
