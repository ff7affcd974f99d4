"""The templates are Bicep, and agree with the code that they deploy."""

import json
import re
from pathlib import Path

import pytest

from shared.audit import AuditLog
from shared.azure.tables import ALL_TABLES, CLIENTS, PAGES, TENANTS, USAGE
from shared.settings import SettingError, Settings
from shared.upstream.hops import AUTH, CREDENTIAL, DIRECTORY, GATEWAY, UPSTREAM
from tests.infra.conftest import Break
from tests.infra.queries import columns, operands
from tests.infra.templates import (
    INFRA,
    ROOT,
    Parameter,
    declaration,
    parameters,
    syntax_errors,
    templates,
    text,
    tree,
    values,
)

# Microsoft's identifiers of built-in roles (Azure built-in roles, "Security", "Storage", "Monitor").
ROLES = {
    "keyVaultSecretsUser": "4633458b-17de-408a-b874-0445c86b69e6",
    "keyVaultSecretsOfficer": "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
    "storageTableDataReader": "76199698-9eea-4c19-bc75-cec21354c6b6",
    "storageTableDataContributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    "blobDataOwner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "monitoringMetricsPublisher": "3913510d-42f4-4e42-8a64-420c390055eb",
}

OF_A_LAPTOP = {"LOCAL_VAULT", "TABLES_CONNECTION_STRING"}
SET_BY_THE_PLATFORM = {"WEBSITE_INSTANCE_ID", "WEBSITE_AUTH_ENABLED", "IDENTITY_ENDPOINT"}
READ_BY_THE_PLATFORM = re.compile(
    r"AzureWebJobs.+|APPLICATIONINSIGHTS_.+|OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID|WEBSITE_AUTH_AAD_ALLOWED_TENANTS"
)


def given_settings(infra: Path, app: str) -> set[str]:
    """The names of all settings that an app gets."""
    main = infra / "main.bicep"
    own = values(declaration(main, f"{app}Settings")).keys() - {"name", "params", "siteName", "hostSettings"}
    own -= {"applicationInsightsName", "settings"}
    common = values(declaration(main, "settings")).keys()
    host = values(declaration(infra / "modules/functionApp.bicep", "hostSettings")).keys()
    environment = values(declaration(infra / "modules/settings.bicep", "environmentSettings")).keys()
    return own | common | host | environment - {"parent", "name", "properties"}


def read_settings() -> set[str]:
    """The names of all settings that the code reads."""
    sources = [path.read_text() for path in (ROOT / "shared").rglob("*.py")]
    asked = r"""environ(?:ment)?(?:\.get\(|\[|, )"([A-Z][A-Z_]+)"|"([A-Z][A-Z_]+)" (?:not )?in (?:os\.)?environ"""
    return {name for source in sources for pair in re.findall(asked, source) for name in pair if name}


def settings_errors(infra: Path) -> list[str]:
    """Settings that are read and not given, or given and not read."""
    wanted = read_settings() - OF_A_LAPTOP - SET_BY_THE_PLATFORM
    errors = []
    for app in ("gateway", "portal"):
        given = given_settings(infra, app)
        errors += [f"{app}: {name} is not given" for name in sorted(wanted - given)]
        errors += [
            f"{app}: nothing reads {name}"
            for name in sorted(given - wanted)
            if not READ_BY_THE_PLATFORM.fullmatch(name)
        ]
    return errors


def environment(infra: Path, **changed: str) -> dict[str, str]:
    """The environment of the code with every parameter at its default, but for those changed, by setting."""
    defaults = parameters(infra / "main.bicep")
    settings = values(declaration(infra / "main.bicep", "settings"))
    read = {"PUBLIC_BASE_URL": "https://g.example", "KEY_VAULT_URL": "https://v.example"}
    read["TABLES_ENDPOINT"] = "https://t.example"
    for setting, value in settings.items():
        name = parameter_of(value)
        if name in defaults:
            read[setting] = defaults[name].default
    return read | changed


def parameter_of(value: str) -> str:
    return value.removeprefix("string(").removesuffix(")")


def setting_parameters(infra: Path) -> dict[str, Parameter]:
    """The parameters that are settings of the code, by the setting's name."""
    defaults = parameters(infra / "main.bicep")
    settings = values(declaration(infra / "main.bicep", "settings"))
    return {name: defaults[parameter_of(value)] for name, value in settings.items() if parameter_of(value) in defaults}


def range_errors(infra: Path) -> list[str]:
    """Values that a template lets through and the code refuses, or the other way round."""
    errors = []
    for name, parameter in setting_parameters(infra).items():
        good: list[str] = [*parameter.allowed]
        bad: list[str] = []
        if parameter.least is not None and parameter.most is not None:
            good += [str(parameter.least), str(parameter.most)]
            bad += [str(parameter.least - 1), str(parameter.most + 1)]
        errors += [f"{name}={value} is refused" for value in good if not takes(infra, name, value)]
        errors += [f"{name}={value} is taken" for value in bad if takes(infra, name, value)]
        if not good:
            errors.append(f"{name} has no range")
    return errors


def takes(infra: Path, name: str, value: str) -> bool:
    try:
        Settings.from_environment(environment(infra, **{name: value}))
    except SettingError:
        return False
    return True


def role_errors(infra: Path) -> list[str]:
    """Roles under a wrong name or identifier, and identifiers that stand for no role."""
    errors = []
    for template in templates(infra):
        source = template.read_text()
        identifiers = re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", source)
        named = dict(re.findall(r"(\w+)(?: =|:) '([0-9a-f-]{36})'", source))
        errors += [f"{template.name}: {name}" for name, found in named.items() if ROLES.get(name) != found]
        errors += [f"{template.name}: {found}" for found in identifiers if found not in named.values()]
    return errors


def switched_off(infra: Path, app: str) -> set[str]:
    return {
        found[1]
        for name, value in values(declaration(infra / "main.bicep", f"{app}Settings")).items()
        if (found := re.fullmatch(r"AzureWebJobs\.(\w+)\.Disabled", name)) and value == "true"
    }


def tables_of(infra: Path, access: str, kind: str) -> set[str]:
    return set(re.findall(r"'(\w+)'", values(declaration(infra / "main.bicep", access))[kind]))


@pytest.mark.parametrize("template", templates(INFRA), ids=lambda path: path.stem)
def test_every_template_is_bicep(template: Path) -> None:
    assert syntax_errors(template) == []


def test_a_syntax_error_would_be_noticed(broken: Break) -> None:
    infra = broken("main.bicep", "module vault 'modules/vault.bicep' = {", "module vault 'modules/vault.bicep' {")
    assert syntax_errors(infra / "main.bicep")


def test_every_module_and_file_that_is_named_is_there_and_no_other() -> None:
    named = {
        (template.parent / name).resolve()
        for template in templates(INFRA)
        for pair in re.findall(r"^module \w+ '(.+?)'|loadTextContent\('(.+?)'\)", template.read_text(), re.MULTILINE)
        for name in pair
        if name
    }
    there = {path for path in INFRA.rglob("*") if path.suffix in (".bicep", ".kql") or path.name == "workbook.json"}
    assert named == there - {INFRA / "main.bicep"}


def test_every_setting_that_the_code_reads_is_given_and_no_other() -> None:
    assert settings_errors(INFRA) == []


def test_a_missing_or_useless_setting_would_be_noticed(broken: Break) -> None:
    infra = broken("main.bicep", "  STALE_SECONDS: string(staleSeconds)", "  STALE_SECOND: string(staleSeconds)")
    assert settings_errors(infra) == [
        f"{app}: {problem}"
        for app in ("gateway", "portal")
        for problem in ("STALE_SECONDS is not given", "nothing reads STALE_SECOND")
    ]


def test_defaults_are_those_of_the_code() -> None:
    needed = ("PUBLIC_BASE_URL", "KEY_VAULT_URL", "TABLES_ENDPOINT")
    given = environment(INFRA)
    assert len(given) > len(needed)
    assert Settings.from_environment(given) == Settings.from_environment({name: given[name] for name in needed})


def test_templates_take_what_the_code_takes() -> None:
    assert range_errors(INFRA) == []


def test_a_range_that_the_code_does_not_take_would_be_noticed(broken: Break) -> None:
    infra = broken("main.bicep", "@maxValue(220)", "@maxValue(230)")
    assert range_errors(infra) == ["UPSTREAM_TIMEOUT_SECONDS=230 is refused"]


def test_roles_are_the_built_in_ones_that_their_names_say() -> None:
    assert role_errors(INFRA) == []


def test_a_wrong_role_would_be_noticed(broken: Break) -> None:
    infra = broken("modules/access.bicep", ROLES["keyVaultSecretsUser"], ROLES["keyVaultSecretsOfficer"])
    assert role_errors(infra) == ["access.bicep: keyVaultSecretsUser"]


def test_each_function_runs_in_one_of_the_two_apps() -> None:
    functions = {path.parent.name for path in ROOT.glob("*/function.json")}
    assert switched_off(INFRA, "gateway") == {"portal_fn"}
    assert switched_off(INFRA, "portal") == functions - {"portal_fn"}


def test_a_function_that_is_forgotten_would_be_noticed(broken: Break) -> None:
    infra = broken("main.bicep", "'AzureWebJobs.health_fn.Disabled'", "'AzureWebJobs.heath_fn.Disabled'")
    functions = {path.parent.name for path in ROOT.glob("*/function.json")}
    assert switched_off(infra, "portal") != functions - {"portal_fn"}


def table_names(infra: Path) -> tuple[str, ...]:
    return tuple(re.findall(r"'(\w+)'", text(declaration(infra / "modules/directory.bicep", "tableNames"))))


def test_the_directory_has_the_tables_of_the_code() -> None:
    assert table_names(INFRA) == ALL_TABLES


def test_a_table_that_is_not_made_would_be_noticed(broken: Break) -> None:
    assert table_names(broken("modules/directory.bicep", "'Pages'", "'Page'")) != ALL_TABLES


def public_grants(infra: Path) -> tuple[set[str], set[str], str]:
    """Which tables the public app may write and which it may read, and what it may do with the vault."""
    return (
        tables_of(infra, "gatewayAccess", "writeTables"),
        tables_of(infra, "gatewayAccess", "readTables"),
        values(declaration(infra / "main.bicep", "gatewayAccess"))["vaultRole"],
    )


def test_the_public_app_writes_pages_and_usage_alone_and_no_secret() -> None:
    assert public_grants(INFRA) == ({PAGES, USAGE}, {TENANTS, CLIENTS}, "read")


def test_a_grant_too_many_to_the_public_app_would_be_noticed(broken: Break) -> None:
    tables = text(declaration(INFRA / "main.bicep", "gatewayAccess"))
    infra = broken("main.bicep", tables, tables.replace("'Usage'", "'Usage', 'Tenants'"))
    assert public_grants(infra)[0] == {PAGES, USAGE, TENANTS}


def test_the_portal_writes_tenants_clients_and_secrets() -> None:
    assert tables_of(INFRA, "portalAccess", "writeTables") == {TENANTS, CLIENTS}
    assert tables_of(INFRA, "portalAccess", "readTables") == {USAGE}
    assert values(declaration(INFRA / "main.bicep", "portalAccess"))["vaultRole"] == "write"


def opened_by_keys(infra: Path) -> list[str]:
    """What a key or a password opens, where there should be Entra alone."""
    shut = {
        "Microsoft.Storage/storageAccounts@": ("allowSharedKeyAccess", "false"),
        "Microsoft.Insights/components@": ("DisableLocalAuth", "true"),
        "Microsoft.OperationalInsights/workspaces@": ("disableLocalAuth", "true"),
        "Microsoft.Web/sites/basicPublishingCredentialsPolicies@": ("allow", "false"),
        "Microsoft.KeyVault/vaults@": ("enableRbacAuthorization", "true"),
    }
    found = []
    for template in templates(infra):
        for node in tree(template).children:
            for kind, (name, wanted) in shut.items():
                made = node.type == "resource_declaration" and " existing =" not in text(node)
                if made and kind in text(node.named_children[1]) and values(node).get(name) != wanted:
                    found.append(f"{template.name}: {text(node.named_children[0])}")
    return found


def test_no_key_or_password_opens_anything() -> None:
    assert opened_by_keys(INFRA) == []


def test_a_key_that_opens_something_would_be_noticed(broken: Break) -> None:
    infra = broken("modules/directory.bicep", "allowSharedKeyAccess: false", "allowSharedKeyAccess: true")
    assert opened_by_keys(infra) == ["directory.bicep: account"]


def admin_isolation(infra: Path) -> str | None:
    return values(declaration(infra / "modules/functionApp.bicep", "site")).get("functionsRuntimeAdminIsolationEnabled")


def test_the_hosts_admin_endpoints_are_shut() -> None:
    assert admin_isolation(INFRA) == "true"


def test_open_admin_endpoints_would_be_noticed(broken: Break) -> None:
    line = "functionsRuntimeAdminIsolationEnabled: true"
    assert admin_isolation(broken("modules/functionApp.bicep", line, line.replace("true", "false"))) == "false"


def test_the_audit_query_reads_the_fields_that_are_written(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "gateway.audit")
    hops = dict.fromkeys((AUTH, DIRECTORY, CREDENTIAL, UPSTREAM, GATEWAY), 1.0)
    who = {"request_id": "r", "client_id": "c", "secret_id": "s", "tenant": "t"}
    what = {"base": "stu3", "interaction": "read", "type": "Patient"}
    AuditLog().token_request(**who, status=200, error="", milliseconds=1.0)
    AuditLog().fhir_request(**who, **what, status=200, received=0, sent=1, hops=hops)
    AuditLog().change(actor="a", action="client.create", subject="c")
    written = {name for message in caplog.messages for name in json.loads(message)} | {f"ms.{hop}" for hop in hops}

    query = (INFRA / "queries/audit.kql").read_text()

    assert set(re.findall(r"line\.(\w+(?:\.\w+)?)", query)) == written
    [prefix] = re.findall(r"startswith '(.+)'", query)
    assert all(message.startswith(prefix) for message in caplog.messages)


def test_queries_and_the_workbook_use_columns_of_the_audit_query() -> None:
    items = json.loads((INFRA / "workbook.json").read_text())["items"]
    queries = [item["content"]["query"] for item in items if item["type"] == 3]
    queries += [path.read_text() for path in INFRA.glob("queries/*.kql") if path.name != "audit.kql"]
    used = {name for query in queries if "GatewayAudit" in query for name in operands(query)}
    assert {"status", "upstream", "tenant"} <= used <= columns()


def test_a_column_that_the_audit_query_lacks_would_be_noticed() -> None:
    assert operands("GatewayAudit\n| where state >= 500\n| summarize percentile(upstraem, 95)") - columns() == {
        "state",
        "upstraem",
    }


def unknown_parameters(infra: Path) -> set[str]:
    """What parameter files set and `main.bicep` does not take."""
    names = set(re.findall(r"^param (\w+) ", (infra / "main.bicep").read_text(), re.MULTILINE))
    files = infra.glob("*.bicepparam")
    return {name for file in files for name in re.findall(r"^param (\w+) = ", file.read_text(), re.MULTILINE)} - names


def test_parameter_files_set_parameters_that_exist() -> None:
    files = sorted(INFRA.glob("*.bicepparam"))
    assert [file.name for file in files] == ["main.large.bicepparam", "main.small.bicepparam"]
    assert all("using 'main.bicep'" in file.read_text() for file in files)
    assert unknown_parameters(INFRA) == set()
    assert re.findall(r"^param (\w+) \w+$", (INFRA / "main.bicep").read_text(), re.MULTILINE) == ["portalClientId"]


def test_a_parameter_that_does_not_exist_would_be_noticed(broken: Break) -> None:
    infra = broken("main.small.bicepparam", "using 'main.bicep'", "using 'main.bicep'\nparam cacheSecond = 60")
    assert unknown_parameters(infra) == {"cacheSecond"}
