"""The person who is signed in to the portal, and their roles."""

import binascii
import json
from base64 import b64decode
from dataclasses import dataclass
from enum import Enum

from shared.directory.client import Client

_MAX_HEADER_CHARACTERS = 65_536
_USER_NAME = "preferred_username"
_OBJECT_IDS = ("http://schemas.microsoft.com/identity/claims/objectidentifier", "oid")


class Role(Enum):
    """The app roles of the Entra registration; the values are theirs."""

    ADMIN = "Gateway.Admin"
    CLIENT_OWNER = "Gateway.ClientOwner"


@dataclass(frozen=True, slots=True)
class Principal:
    """A person who is signed in.

    `id` is what the column `Owner` of the person's clients holds: the user name in lower case, which is unique within
    the Entra tenant. It can be read, and written there before the person has ever signed in; the price is that a user
    name which is given to another person takes its clients along.
    """

    id: str
    name: str
    roles: frozenset[Role]

    @property
    def is_admin(self) -> bool:
        """Whether everything is allowed."""
        return Role.ADMIN in self.roles

    def may_see(self, client: Client) -> bool:
        """Whether the client is there for this person: all are for an admin, the own ones for an owner."""
        return self.is_admin or (Role.CLIENT_OWNER in self.roles and person_id(client.owner) == self.id)


ANONYMOUS = Principal("", "", frozenset())


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
    id = first.get(_USER_NAME) or next((first[name] for name in _OBJECT_IDS if first.get(name)), "")
    if provider != "aad" or not id:
        return None
    granted = {value for name, value in claims if name == "roles"}
    return Principal(person_id(id), first.get("name") or id, frozenset(role for role in Role if role.value in granted))
