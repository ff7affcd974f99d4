"""`smoke`: plays the app against a gateway that is deployed, over HTTP, and tells how each step went."""

import os
import sys
from contextlib import suppress
from urllib.parse import urlsplit

import click

from admin.command import GlobalOptions, examples, global_options
from admin.output import Findings
from shared.directory.typed_text import decoded
from shared.fhir.versions import FhirVersion, fhir_bases
from shared.settings import is_loopback

_SECRET_VARIABLE = "GATEWAY_CLIENT_SECRET"  # noqa: S105 (the variable, not the secret)
_BASES = list(fhir_bases(FhirVersion.STU3))
_TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
_CLIENT = "4f1c2a0e-93ad-4a53-9b6c-6f0e8a6d2b11"
_EXAMPLE = f"smoke --base-url https://gateway.example.com --client-id {_CLIENT} --tenant {_TENANT}"


def _origin(context: click.Context, parameter: click.Parameter, value: str) -> str:
    try:
        parts = urlsplit(value.rstrip("/"))
        host = parts.hostname
    except ValueError:
        raise click.BadParameter("is no URL") from None
    if not host or parts.path or parts.query or parts.scheme not in ("https", "http"):
        raise click.BadParameter("give the gateway's own URL, such as https://gateway.example.com")
    if parts.scheme == "http" and not is_loopback(host):
        raise click.BadParameter("a secret is sent there: it must begin with https://")
    return parts.geturl()


@click.command(
    epilog=examples(_EXAMPLE, f"{_EXAMPLE} --base stu3 --family Black", f"{_EXAMPLE} < secret.txt"),
)
@click.option("--base-url", required=True, metavar="URL", callback=_origin, help="The gateway's PUBLIC_BASE_URL.")
@click.option("--client-id", required=True, metavar="ID", help="The client to play the app with.")
@click.option("--tenant", required=True, metavar="GUID", help="The tenant to ask for.")
@click.option("--base", default="fhir", show_default=True, type=click.Choice(_BASES), help="The FHIR base.")
@click.option("--family", metavar="NAME", help="The family name of a patient to search for; any patient without it.")
@global_options
def smoke(base_url: str, client_id: str, tenant: str, base: str, family: str | None) -> None:
    """Plays the app against a gateway, and reports each step.

    The client's secret comes from the environment (GATEWAY_CLIENT_SECRET), or is asked for, or read from standard
    input. Nothing of a patient is printed. Needs no settings and no rights but the client's. Ends with 1 if a step
    fails.
    """
    # Imports what --help can do without.
    from admin.smoke_steps import smoke_steps

    findings = Findings(as_json=click.get_current_context().ensure_object(GlobalOptions).json)
    criteria = {"_count": "1", **({"family": family} if family else {})}
    for finding in smoke_steps(base_url, f"{base_url}/{base}", (client_id, _secret()), tenant, criteria):
        findings.add(finding)
    findings.end()


def _secret() -> str:
    secret = os.environ.get(_SECRET_VARIABLE, "").strip()
    if not secret:
        asks = sys.stdin.isatty()
        secret = str(click.prompt("Client secret", hide_input=True, err=True)) if asks else _piped()
    if not secret.strip():
        raise click.UsageError(f"give the client's secret in {_SECRET_VARIABLE} or on standard input")
    return secret.strip()


def _piped() -> str:
    with suppress(UnicodeDecodeError):
        return decoded(sys.stdin.buffer.read())
    return ""
