"""What can go wrong with the directory: rows that can't be used, tenants it does not know, changes it refuses.

Each message is for the person who keeps the directory, or asked for the change.
"""

from collections.abc import Sequence

from shared.fhir.versions import FhirVersion
from shared.stores.errors import StoreUnavailable


class RowError(Exception):
    """A row of a table can't be used. The message names table, row and columns, and never shows a value.

    `problems` are everything that is wrong, each with its column, in the order of the columns; `column` and `problem`
    are the first of them. `row` names table and row. A person typed keys and column names, so they are made printable
    and short.
    """

    def __init__(self, table: str, row: tuple[str, str], *problems: tuple[str, str]) -> None:
        self.problems = tuple((_shown(column), problem) for column, problem in problems)
        self.column, self.problem = self.problems[0]
        told = "; ".join(f"column {column}: {problem}" for column, problem in self.problems)
        self.row = f"table {table}, row ({_shown(row[0])}, {_shown(row[1])})"
        super().__init__(f"{self.row}, {told}")

    @property
    def sentence(self) -> str:
        """The problems, as a sentence about the columns without its full stop."""
        return "; ".join(f"{column} {problem}" for column, problem in self.problems)


class UnknownTenant(Exception):
    """No row names this tenant, or none that is switched on."""


class NoSuchVersion(Exception):
    """The tenant has no provider for this FHIR version, but has for `versions`."""

    def __init__(self, versions: tuple[FhirVersion, ...]) -> None:
        super().__init__()
        self.versions = versions


class Refusal(Exception):
    """A change was refused and nothing was written."""


class InvalidTenantId(Refusal):
    """What should be a tenant's GUID is none."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text[:64]!r} is not a tenant ID, such as 72f988bf-86f1-41af-91ab-2d7cd011db47")


class UnknownClient(Refusal):
    """The table has no client of this id."""

    def __init__(self, client_id: str) -> None:
        super().__init__(f"there is no client {client_id[:64]!r}")


class UnknownTenants(Refusal):
    """A client is to reach tenants that no row names."""

    def __init__(self, tenants: Sequence[str], remedy: str) -> None:
        super().__init__(f"there is no hospital {', '.join(tenants)}: {remedy}")


class InvalidClientValue(Refusal):
    """A client's name, owner or list of tenants, or a secret's expiry, that can't be kept."""


class TooManyClients(Refusal):
    """The owner has as many clients as an owner may make."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"you have {limit} clients, the most an owner may make: delete one first, or ask an admin")


class TooManySecrets(Refusal):
    """The client has as many live secrets as it may have."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the client has {limit} live secrets, the most it may have: delete one first")


def _shown(name: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in name[:64])


class KeySetUnavailable(StoreUnavailable):
    """A client's own key set can't be had; the gateway's stores are well."""
