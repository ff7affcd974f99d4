"""What can go wrong before a provider is even asked."""


class CredentialError(Exception):
    """The gateway can't authenticate to a provider.

    The message is for the operator. It never holds a secret, a token, a token endpoint's address or its answer.
    """
