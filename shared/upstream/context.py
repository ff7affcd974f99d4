"""What is known of a FHIR request once its token, tenant and provider are: the rest of the way is the same for all."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from shared.directory.provider import Provider
from shared.fhir.policy import Permissions
from shared.fhir.rewriting.link_map import LinkMap
from shared.fhir.versions import FhirFormat
from shared.oauth.access_token import Grant
from shared.upstream.hops import Hops
from shared.upstream.load import Hold


@dataclass(frozen=True, slots=True)
class RequestContext:
    """A client's request on its way to a provider.

    `base` is the segment the client uses and `base_url` the gateway's URL that ends with it; `upstream_links` maps
    gateway links to the provider's, `downstream_links` the other way round. `deadline` is the event loop's time, and
    `seconds` how long before it the request came. `hold` counts what the answers take of the process's memory.
    `confirm` takes seconds: it reads the tenant's row again where it is older, and raises FhirError where the address
    or credential is another one now.
    `entry_statuses` gathers the status of each entry of a batch, in its order, for the audit log.
    """

    request_id: str
    grant: Grant
    provider: Provider
    permissions: Permissions
    base: str
    base_url: str
    upstream_links: LinkMap
    downstream_links: LinkMap
    format: FhirFormat
    deadline: float
    seconds: float
    hops: Hops
    hold: Hold
    confirm: Callable[[float], Awaitable[None]]
    entry_statuses: list[int] = field(default_factory=list)
