"""The Azure SDKs: their patience, and their exceptions as the gateway's own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)

from shared.stores.errors import StoreConflict, StoreUnavailable

_CONFLICTS = (409, 412)  # a transaction's failures have no class of their own

# A request waits for the store, so the SDK's patience is short: the caches retry, and serve what they have meanwhile.
CLIENT_OPTIONS: Mapping[str, Any] = {
    "retry_total": 2,
    "retry_backoff_factor": 0.2,
    "connection_timeout": 3,
    "read_timeout": 5,
    # By themselves they tell of the platform, and ask `uname -p` for it: a process, while all requests wait.
    "base_user_agent": "fhir-interop-gateway",
}


@contextmanager
def translated(store: str) -> Iterator[None]:
    """Raises StoreConflict or StoreUnavailable for what the SDK raises; ResourceNotFoundError is left as it is.

    The messages name the store and the status, never a URL or a body.
    """
    try:
        yield
    except ResourceNotFoundError:
        raise
    except (ResourceModifiedError, ResourceExistsError) as error:
        raise StoreConflict(store) from error
    except ClientAuthenticationError as error:
        # Of a sign-in that failed there is no response of the store's, and so no status.
        problem = f" answered {error.status_code}" if error.status_code else ": nobody is signed in, or not allowed"
        raise StoreUnavailable(f"{store}{problem}") from error
    except HttpResponseError as error:
        if error.status_code in _CONFLICTS:
            raise StoreConflict(store) from error
        raise StoreUnavailable(f"{store} answered {error.status_code}") from error
    except (AzureError, OSError, TimeoutError) as error:
        raise StoreUnavailable(f"{store} did not answer ({type(error).__name__})") from error
