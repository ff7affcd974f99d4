"""The person who is signed in to the portal, and their roles."""

import binascii
import json
from base64 import b64decode
from dataclasses import dataclass
from enum import Enum

from shared.directory.client import Client

_MAX_HEADER_CHARACTERS = 65_536
_USER_NAME = "preferred_username"
_CLAIMS = "http://schemas.microsoft.com/identity/claims/"
_TENANT_IDS = (f"{_CLAIMS}tenantid", "tid")
_OBJECT_IDS = (f"{_CLAIMS}objectidentifier", "oid")


class Role(Enum):
    """The app roles of the Entra registration; the values are theirs."""

    ADMIN = "Gateway.Admin"
    CLIENT_OWNER = "Gateway.ClientOwner"


@dataclass(frozen=True, slots=True)
class Principal:
    """A person who is signed in.

    `id` is `<tid>/<oid>`, Entra's ids of tenant and person, which never pass to another person: the column `OwnerId` of
    the person's clients. `user_name` is in lower case; in the column `Owner` it names the owner of a client until that
    person is seen for the first time, and no longer. `name` is what to call the person.
    """

    id: str
    user_name: str
    name: str
    roles: frozenset[Role]

    @property
    def is_admin(self) -> bool:
        """Whether everything is allowed."""
        return Role.ADMIN in self.roles

    def may_see(self, client: Client) -> bool:
        """Whether the client is there for this person: all are for an admin, the own ones for an owner."""
        return self.is_admin or (Role.CLIENT_OWNER in self.roles and self.owns(client))

    def owns(self, client: Client) -> bool:
        """Whether the client is this person's: by the id that its row has, or by user name where it has none yet."""
        return client.owner_id == self.id if client.owner_id else person_id(client.owner) == self.user_name


ANONYMOUS = Principal("", "", "", frozenset())


def person_id(user_name: str) -> str:
    """A user name as it is compared. Only ASCII is folded: a Kelvin sign in lower case would be another one's "k"."""
    return user_name.lower() if user_name.isascii() else user_name


def parse_client_principal(header: str) -> Principal | None:
    """The person in an `X-MS-CLIENT-PRINCIPAL` header (base64 of JSON) of Entra; None when it holds none.

    The header proves nothing by itself: read it only where App Service Authentication has set it.
    """
    if len(header) > _MAX_HEADER_CHARACTERS:
        return None
    try:
        principal = json.loads(b64decode(header, validate=True))
        claims = [(str(claim["typ"]), str(claim["val"])) for claim in principal["claims"]]
        provider = principal["auth_typ"]
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError):
        return None
    first = dict(reversed(claims))
    tenant, person = (
        next((first[name] for name in names if first.get(name)), "") for names in (_TENANT_IDS, _OBJECT_IDS)
    )
    if provider != "aad" or not tenant or not person:
        return None
    user_name = first.get(_USER_NAME) or person
    granted = {value for name, value in claims if name == "roles"}
    roles = frozenset(role for role in Role if role.value in granted)
    return Principal(f"{tenant}/{person}".lower(), person_id(user_name), first.get("name") or user_name, roles)
