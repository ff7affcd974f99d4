"""What can go wrong between the gateway and the stores that hold its directory."""


class StoreUnavailable(Exception):
    """Table Storage or Key Vault did not answer, throttled or refused; the message names the store and the reason."""


class StoreConflict(Exception):
    """Someone else added, changed or removed what was to be written since it was read: nothing was written.

    The message says so, and what to do, for whoever asked for the change.
    """

    def __init__(self, store: str) -> None:
        super().__init__(f"{store}: someone else changed this meanwhile; look at it again, and repeat")


class SecretNameHeld(StoreConflict):
    """A deleted secret holds the name of one to be written; the message says how to free it."""

    def __init__(self, message: str) -> None:
        Exception.__init__(self, message)
