"""What is deployed agrees with the code: the kept snapshots, the queries, and the host's settings."""

import asyncio
import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from local.functions_host.logs import Levels
from shared.audit import AuditedEntry, AuditLog
from shared.settings import Settings
from shared.stores.tables import ALL_TABLES
from shared.upstream.request_body import MAX_BODY_BYTES
from shared.upstream.server_timing import AUTH, CREDENTIAL, DIRECTORY, GATEWAY, UPSTREAM
from tests.infra.bicep import INFRA, ROOT, SIZES, SNAPSHOTS, resources
from tests.infra.queries import columns, operands

FUNCTIONS = {path.parent.name for path in ROOT.glob("*/function.json")}
CLOSED = {"portal_fn", "upkeep_fn"}

# Microsoft's identifiers of built-in roles (Azure built-in roles, "Security", "Storage", "Monitor").
ROLES = {
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
    "b86a8fe4-44ce-4948-aee5-eccb2c155cd7": "Key Vault Secrets Officer",
    "76199698-9eea-4c19-bc75-cec21354c6b6": "Storage Table Data Reader",
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Storage Table Data Contributor",
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
}

OF_A_LAPTOP = {"LOCAL_VAULT", "TABLES_CONNECTION_STRING"}
SET_BY_THE_PLATFORM = {"WEBSITE_SITE_NAME", "WEBSITE_AUTH_ENABLED", "IDENTITY_ENDPOINT"}
READ_BY_THE_PLATFORM = re.compile(
    r"AzureWebJobs.+|APPLICATIONINSIGHTS_.+|OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID|WEBSITE_AUTH_AAD_ALLOWED_TENANTS"
    r"|FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"
)


def deployed(size: str) -> list[dict[str, Any]]:
    """The resources of a kept snapshot."""
    return resources((SNAPSHOTS / f"{size}.json").read_text())


def of_type(found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The resources of a type, without its `Microsoft.`."""
    return [resource for resource in found if resource["type"] == f"Microsoft.{kind}"]


def settings_of(found: list[dict[str, Any]], app: str) -> dict[str, str]:
    """The environment of the code in one of the two apps."""
    pattern = {"gateway": r"fhirgw-[^-]+/appsettings", "portal": r"fhirgw-portal-[^-]+/appsettings"}[app]
    [settings] = [
        config["properties"] for config in of_type(found, "Web/sites/config") if re.fullmatch(pattern, config["name"])
    ]
    return dict(settings)


def read_settings() -> set[str]:
    """The names of all settings that the code reads."""
    sources = [path.read_text() for path in (ROOT / "shared").rglob("*.py")]
    asked = r"""environ(?:ment)?(?:\.get\(|\[|, )"([A-Z][A-Z_]+)"|"([A-Z][A-Z_]+)" (?:not )?in (?:os\.)?environ"""
    return {name for source in sources for pair in re.findall(asked, source) for name in pair if name}


def settings_errors(found: list[dict[str, Any]]) -> list[str]:
    """Settings that are read and not given, or given and not read."""
    wanted = read_settings() - OF_A_LAPTOP - SET_BY_THE_PLATFORM
    errors = []
    for app in ("gateway", "portal"):
        given = settings_of(found, app).keys()
        errors += [f"{app}: {name} is not given" for name in sorted(wanted - given)]
        errors += [
            f"{app}: nothing reads {name}"
            for name in sorted(given - wanted)
            if not READ_BY_THE_PLATFORM.fullmatch(name)
        ]
    return errors


def grants(found: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """Who may do what to which resource."""
    return {
        (
            next(iter(re.findall(r"userAssignedIdentities/([^']+)'", who)), "admins").replace(
                "fhirgw-portal", "portal"
            ),
            assignment["id"].split("/providers/Microsoft.Authorization/")[0].rpartition("/")[2],
            ROLES[assignment["properties"]["roleDefinitionId"].rpartition("/")[2]],
        )
        for assignment in of_type(found, "Authorization/roleAssignments")
        for who in [assignment["properties"]["principalId"]]
    }


def opened_by_keys(found: list[dict[str, Any]]) -> list[str]:
    """What a key or a password opens, where there should be Entra alone."""
    shut = {
        "Storage/storageAccounts": ("allowSharedKeyAccess", False),
        "Insights/components": ("DisableLocalAuth", True),
        "Web/sites/basicPublishingCredentialsPolicies": ("allow", False),
        "KeyVault/vaults": ("enableRbacAuthorization", True),
    }
    opened = [
        resource["name"]
        for kind, (name, wanted) in shut.items()
        for resource in of_type(found, kind)
        if resource["properties"].get(name) is not wanted
    ]
    workspaces = of_type(found, "OperationalInsights/workspaces")
    return opened + [item["name"] for item in workspaces if not item["properties"]["features"]["disableLocalAuth"]]


def in_one_zone(found: list[dict[str, Any]]) -> list[str]:
    """What a zone that fails takes along."""
    skus = {
        "Network/natGateways": {"StandardV2"},
        "Network/publicIPAddresses": {"StandardV2"},
        "Storage/storageAccounts": {"Standard_ZRS", "Standard_GZRS"},
    }
    found_in_one = [
        item["name"] for kind, good in skus.items() for item in of_type(found, kind) if item["sku"]["name"] not in good
    ]
    plans = of_type(found, "Web/serverfarms")
    return found_in_one + [plan["name"] for plan in plans if not plan["properties"]["zoneRedundant"]]


def test_every_setting_that_the_code_reads_is_given_and_no_other() -> None:
    assert [error for size in SIZES for error in settings_errors(deployed(size))] == []


def test_defaults_are_those_of_the_code() -> None:
    own = {"PUBLIC_BASE_URL": "https://g.example", "KEY_VAULT_URL": "https://v.example"}
    own["TABLES_ENDPOINT"] = "https://t.example"
    given = settings_of(deployed("small"), "gateway") | own
    assert Settings.from_environment(given) == Settings.from_environment(own)


def test_the_host_takes_a_little_more_than_the_code_so_that_the_code_refuses() -> None:
    for app in ("gateway", "portal"):
        limit = int(settings_of(deployed("small"), app)["FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"])
        assert MAX_BODY_BYTES < limit <= MAX_BODY_BYTES + 1_048_576


@pytest.mark.parametrize(("app", "runs"), [("gateway", FUNCTIONS - CLOSED), ("portal", CLOSED)])
def test_each_function_runs_in_one_of_the_two_apps(app: str, runs: set[str]) -> None:
    switches = settings_of(deployed("small"), app)
    off = {name.split(".")[1] for name, value in switches.items() if name.endswith(".Disabled") and value == "true"}
    assert off == FUNCTIONS - runs


@pytest.mark.parametrize("size", SIZES)
def test_the_directory_has_the_tables_of_the_code(size: str) -> None:
    tables = of_type(deployed(size), "Storage/storageAccounts/tableServices/tables")
    assert sorted(table["name"].rpartition("/")[2] for table in tables) == sorted(ALL_TABLES)


@pytest.mark.parametrize("size", SIZES)
def test_everybody_may_do_what_they_need_and_no_more(size: str) -> None:
    """The public app writes no secret, no tenant and no client."""
    found = deployed(size)
    suffix = of_type(found, "KeyVault/vaults")[0]["name"].rpartition("-")[2]
    gateway, portal = f"fhirgw-{suffix}", f"portal-{suffix}"
    vault, directory = f"fhirgw-kv-{suffix}", f"fhirgwdir{suffix}"
    assert grants(found) == {
        *(
            (app, f"fhirgw{kind}{suffix}", "Storage Blob Data Owner")
            for app, kind in ((gateway, "app"), (portal, "portal"))
        ),
        *((app, "fhirgw-insights", "Monitoring Metrics Publisher") for app in (gateway, portal)),
        (gateway, vault, "Key Vault Secrets User"),
        *((gateway, table, "Storage Table Data Reader") for table in ("Tenants", "Clients")),
        *(
            (gateway, table, "Storage Table Data Contributor")
            for table in ("Pages", "Usage", "Traffic", "Revoked", "Assertions")
        ),
        (portal, vault, "Key Vault Secrets Officer"),
        *((portal, table, "Storage Table Data Contributor") for table in ALL_TABLES),
        ("admins", vault, "Key Vault Secrets Officer"),
        ("admins", directory, "Storage Table Data Contributor"),
    }


@pytest.mark.parametrize("size", SIZES)
def test_what_if_can_name_every_role_assignment(size: str) -> None:
    names = [assignment["name"] for assignment in of_type(deployed(size), "Authorization/roleAssignments")]
    assert [name for name in names if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", name)] == []


@pytest.mark.parametrize("size", SIZES)
def test_no_key_or_password_opens_anything(size: str) -> None:
    assert opened_by_keys(deployed(size)) == []


def test_what_is_promised_across_zones_stands_in_no_single_one() -> None:
    # The portal keeps nothing, and has no instance that is always awake.
    assert [name for name in in_one_zone(deployed("large")) if "portal" not in name] == []


@pytest.mark.parametrize("size", SIZES)
def test_everybody_reaches_both_apps_and_no_page_of_others_does(size: str) -> None:
    for site in of_type(deployed(size), "Web/sites"):
        config = site["properties"]["siteConfig"]
        assert (config["ipSecurityRestrictionsDefaultAction"], config["ipSecurityRestrictions"]) == ("Allow", [])
        assert config["cors"] == {"allowedOrigins": [], "supportCredentials": False}


def test_the_hosts_admin_endpoints_are_open_to_its_key_while_somebody_publishes() -> None:
    """Core Tools asks for /admin/host/status, and takes the 403 of an isolated host for a publication that failed."""
    sites = [site for size in SIZES for site in of_type(deployed(size), "Web/sites")]
    assert not any(site["properties"]["functionsRuntimeAdminIsolationEnabled"] for site in sites)


def test_every_alert_names_the_section_of_the_runbook_that_answers_it() -> None:
    found = deployed("large")
    alerts = of_type(found, "Insights/scheduledQueryRules") + of_type(found, "Insights/metricAlerts")
    assert {alert["name"].removeprefix("fhirgw-") for alert in alerts} == {
        *(
            "server-errors",
            "host-errors",
            "slow",
            "provider-failures",
            "token-failures",
            "vault-throttling",
            "expiring",
            "unhealthy",
        ),
    }
    headings = re.findall(r"^## (.+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE)
    for alert in alerts:
        [section] = re.findall(r" Runbook: (.+)\.$", alert["properties"]["description"])
        assert section in headings


@pytest.mark.parametrize(
    ("category", "level"),
    [
        *((f"Function.{name}.User", "INFO") for name in sorted(FUNCTIONS)),  # what the code writes
        *((f"Function.{name}", "WARNING") for name in sorted(FUNCTIONS)),  # "Executing" and "Executed"
        ("Host.Results", "WARNING"),
        ("Host.Triggers.Http", "WARNING"),
        ("Microsoft.Azure.WebJobs.Script.Workers.Rpc", "WARNING"),
    ],
)
def test_a_request_writes_one_line(category: str, level: str) -> None:
    host = json.loads((ROOT / "host.json").read_text())
    assert logging.getLevelName(Levels(host).level(category)) == level


def test_every_query_is_used() -> None:
    """Every query beside the templates is a resource's."""
    text = "".join(path.read_text() for path in INFRA.rglob("*.bicep"))
    assert [path.name for path in INFRA.glob("queries/*.kql") if f"/{path.name}'" not in text] == []


async def test_the_audit_query_reads_the_fields_that_are_written(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "gateway.audit")
    hops = dict.fromkeys((AUTH, DIRECTORY, CREDENTIAL, UPSTREAM, GATEWAY), 1.0)
    who = {"request_id": "r", "client_id": "c", "secret_id": "s", "tenant": "t"}
    what = {"base": "stu3", "interaction": "read", "type": "Patient"}
    entries = [AuditedEntry("read", "Patient", 200)]
    audit = AuditLog()
    await asyncio.gather(
        audit.token_request(**who, event="token", status=200, error="", kind="", milliseconds=1.0),
        audit.fhir_request(**who, **what, status=200, kind="", received=0, sent=1, hops=hops, entries=entries),
    )
    audit.change(actor="a", action="client.create", subject="c")
    audit.expiry(subject="c", name="secret s", expires=datetime.now(UTC))
    query = (INFRA / "queries/audit.kql").read_text()
    [separator] = re.findall(r"mv-expand line = split\(Message, '(.+)'\)", query)
    lines = [json.loads(line) for text in caplog.messages for line in text.split(separator.replace(r"\n", "\n"))]
    written = {name for line in lines for name in line} | {f"ms.{hop}" for hop in hops}
    assert set(re.findall(r"line\.(\w+(?:\.\w+)?)", query)) == written
    [prefix] = re.findall(r"startswith '(.+)'", query)
    assert all(message.startswith(prefix) for message in caplog.messages)


def test_queries_and_the_workbook_use_columns_of_the_audit_query() -> None:
    items = json.loads((INFRA / "workbook.json").read_text())["items"]
    queries = [item["content"]["query"] for item in items if item["type"] == 3]
    queries += [path.read_text() for path in INFRA.glob("queries/*.kql") if path.name != "audit.kql"]
    used = {name for query in queries if "GatewayAudit" in query for name in operands(query)}
    assert {"status", "upstream", "tenant"} <= used <= columns()
