"""What can go wrong between the gateway and the stores that hold its directory."""


class StoreUnavailable(Exception):
    """Table Storage or Key Vault did not answer, throttled or refused; the message names the store and the reason."""


class StoreConflict(Exception):
    """A row was changed, or already exists, since it was read: nothing was written."""


class SecretNameHeld(StoreConflict):
    """A deleted secret holds the name of one to be written; the message says how to free it."""
