"""Changes to the directory that can't be made; each message says why, for the person who asked for the change."""


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


class InvalidClient(Refusal):
    """A client's name, owner or list of tenants, or a secret's expiry, that can't be kept."""


class TooManyClients(Refusal):
    """The owner has as many clients as an owner may make."""

    def __init__(self, most: int) -> None:
        super().__init__(f"you have {most} clients, the most an owner may make: delete one first, or ask an admin")


class TooManySecrets(Refusal):
    """The client has as many live secrets as it may have."""

    def __init__(self, most: int) -> None:
        super().__init__(f"the client has {most} live secrets, the most it may have: delete one first")
