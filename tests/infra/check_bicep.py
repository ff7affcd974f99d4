"""The Bicep compiler's verdict on the templates, and on what they make. Run by `make check`."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from admin.package import PYTHON_VERSIONS
from shared.settings import SettingError, Settings
from tests.infra.bicep import BICEP, INFRA, MISSING, SIZES, SNAPSHOTS, BicepError, bicep, copied, parameters, resources
from tests.infra.bicep import snapshot as worked_out

pytestmark = pytest.mark.skipif(BICEP is None, reason=MISSING)


def deployed(folder: Path, text: str, size: str = "large") -> list[dict[str, Any]]:
    """What a parameter file makes with some lines of an operator's own after its lines."""
    file = copied(folder) / f"main.{size}.bicepparam"
    file.write_text(f"{file.read_text()}\n{text}\n")
    return resources(worked_out(file))


def site(found: list[dict[str, Any]], name: str = r"fhirgw-\w+") -> dict[str, Any]:
    """The properties of the app whose name fits."""
    [properties] = [
        resource["properties"]
        for resource in found
        if resource["type"] == "Microsoft.Web/sites" and re.fullmatch(name, resource["name"])
    ]
    return dict(properties)


@pytest.mark.parametrize("size", SIZES)
def test_the_kept_snapshot_is_what_is_deployed(size: str, tmp_path: Path) -> None:
    found = json.loads(worked_out(copied(tmp_path) / f"main.{size}.bicepparam"))
    assert found == json.loads((SNAPSHOTS / f"{size}.json").read_text()), "make snapshots writes it anew"
    assert found["diagnostics"] == []


def test_the_templates_have_no_error_no_warning_and_no_lint() -> None:
    assert bicep("lint", INFRA / "main.bicep") == ""


def test_the_templates_are_formatted(tmp_path: Path) -> None:
    infra = copied(tmp_path)
    bicep("format", "--pattern", f"{infra}/**/*.bicep")
    changed = [
        file.name
        for file in INFRA.rglob("*.bicep")
        if file.read_text() != (infra / file.relative_to(INFRA)).read_text()
    ]
    assert changed == []


def test_no_warning_is_silenced_without_a_reason() -> None:
    lines = [line for file in INFRA.rglob("*.bicep") for line in file.read_text().splitlines() if "#disable" in line]
    assert lines
    assert [line for line in lines if not re.search(r"#disable-next-line \w+ // \w+", line)] == []


MISTAKES = [
    ("main.bicep", "retentionDays: logRetentionDays\n", "retentionDays: name\n", "BCP036"),
    ("main.bicep", "siteName: gatewayName\n    host", "siteName: gateway.outputs.hostName\n    host", "what-if"),
    ("main.bicep", "param tags { *: string }", "param tags object", "use-user-defined-types"),
    *(
        ("main.small.bicepparam", "param healthProbe = false", *mistake)
        for mistake in (
            ("param cacheSecond = 60", "BCP259"),
            ("param addresses = { network: '10.0.0.0/22' }", "BCP035"),
            ("param adminAddresses = [1]", "BCP034"),
            ("param frontDoorId = 'ab12'", "host name of what stands before"),
        )
    ),
]


@pytest.mark.parametrize(("file", "old", "new", "said"), MISTAKES)
def test_a_mistake_is_an_error_before_it_is_a_deployment(
    file: str, old: str, new: str, said: str, tmp_path: Path
) -> None:
    infra = copied(tmp_path)
    source = (infra / file).read_text()
    assert old in source
    (infra / file).write_text(source.replace(old, new))
    with pytest.raises(BicepError, match=said):
        worked_out(infra / "main.small.bicepparam")


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        (
            "param frontDoorId = 'ab12'",
            [("ServiceTag", "AzureFrontDoor.Backend", {"x-azure-fdid": ["ab12"]})],
        ),
        (
            "param frontAddresses = ['192.0.2.0/24', '198.51.100.7/32']\nparam adminAddresses = ['203.0.113.5/32']",
            [("Default", f"{range}", None) for range in ("192.0.2.0/24", "198.51.100.7/32", "203.0.113.5/32")],
        ),
    ],
)
def test_only_a_front_reaches_the_public_app_where_there_is_one(
    text: str, allowed: list[tuple[str, str, dict[str, list[str]] | None]], tmp_path: Path
) -> None:
    found = deployed(tmp_path, text)
    config = site(found)["siteConfig"]
    assert config["ipSecurityRestrictionsDefaultAction"] == "Deny"
    rules = config["ipSecurityRestrictions"]
    assert [(rule["tag"], rule["ipAddress"], rule.get("headers")) for rule in rules] == allowed
    assert len({rule["priority"] for rule in rules}) == len(rules)
    # Code is published through another site, people reach the portal as before, the front has the certificate.
    assert config["scmIpSecurityRestrictionsDefaultAction"] == "Allow"
    assert site(found, r"fhirgw-portal-\w+")["siteConfig"]["ipSecurityRestrictionsDefaultAction"] == "Allow"
    assert not {"Microsoft.Web/sites/certificates", "Microsoft.Web/sites/hostNameBindings"} & {
        resource["type"] for resource in found
    }


def test_origins_are_those_that_an_operator_names(tmp_path: Path) -> None:
    found = deployed(tmp_path, "param allowedOrigins = ['https://app.example.com']", "small")
    assert site(found)["siteConfig"]["cors"] == {
        "allowedOrigins": ["https://app.example.com"],
        "supportCredentials": False,
    }
    assert site(found, r"fhirgw-portal-\w+")["siteConfig"]["cors"]["allowedOrigins"] == []


@pytest.fixture(scope="module")
def offered() -> dict[str, dict[str, Any]]:
    return parameters()


def test_templates_take_what_the_code_takes(offered: dict[str, dict[str, Any]]) -> None:
    assert range_errors(offered) == []


def test_the_python_versions_are_those_whose_wheels_are_checked(offered: dict[str, dict[str, Any]]) -> None:
    assert tuple(offered["pythonVersion"]["allowedValues"]) == PYTHON_VERSIONS
    assert offered["pythonVersion"]["defaultValue"] == "3.13"


def range_errors(offered: dict[str, dict[str, Any]]) -> list[str]:
    """Values that the template lets through and the code refuses, or the other way round."""
    source = (INFRA / "main.bicep").read_text()
    errors = []
    for name, parameter in re.findall(r"^  ([A-Z_]+): (?:string\()?(\w+)\)?$", source, re.MULTILINE):
        if parameter not in offered:
            continue
        of = offered[parameter]
        good = [*of.get("allowedValues", []), *(of[end] for end in ("minValue", "maxValue") if end in of)]
        bad = [of["minValue"] - 1, of["maxValue"] + 1] if "minValue" in of else []
        errors += [f"{name}={value} is refused" for value in good if not takes(name, value)]
        errors += [f"{name}={value} is taken" for value in bad if takes(name, value)]
        if not good:
            errors.append(f"{name} has no range")
    return errors


def takes(name: str, value: object) -> bool:
    needed = {
        "PUBLIC_BASE_URL": "https://g.example",
        "KEY_VAULT_URL": "https://v.example",
        "TABLES_ENDPOINT": "https://t.example",
    }
    try:
        Settings.from_environment(needed | {name: str(value)})
    except SettingError:
        return False
    return True
