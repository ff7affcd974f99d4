"""`az`, `func` and `azd` for the rehearsal of the deployment guide: real options and templates, Azure's part played.

Run as `azure_stand_in.py PROGRAM ARGUMENT...`. `az` hands its arguments to `azure_stand_in.py serve SOCKET`, run by the
Python of the Azure command line, whose own parser it loads once. What is there by now stands as JSON in the file that
`REHEARSAL` names.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

TENANT = "33333333-3333-3333-3333-333333333333"

# The options that Core Tools' PublishFunctionAppAction and its base actions define, and azd's of these commands.
OPTIONS = {
    "func azure functionapp publish": "--python --no-build --build --nozip --force --slot",
    "azd auth login": "--use-device-code --tenant-id --client-id",
    "azd config set": "",
    "azd env new": "--subscription --location -l",
    "azd env set": "--file",
    "azd up": "--no-prompt --subscription --location",
}


class Refused(Exception):
    """What the real program or Azure would end with."""


def main(program: str, *arguments: str) -> None:
    if program == "serve":
        serve(*arguments)
    state = json.loads(state_file().read_text())
    try:
        if program == "az":
            az(state, *arguments)
        else:
            command = next((name for name in OPTIONS if " ".join((program, *arguments)).startswith(name)), program)
            wrong = [word for word in arguments if word[0] == "-" and word not in OPTIONS.get(command, "").split()]
            if command == program or wrong:
                raise Refused(f"{program} does not take {wrong or arguments}")
            {"func": func, "azd": azd}[program](state, *arguments)
        state["commands"].append(" ".join((program, *arguments)))
    except Refused as error:
        sys.exit(f"ERROR: {error}")
    finally:
        state_file().write_text(json.dumps(state))


def state_file() -> Path:
    return Path(os.environ["REHEARSAL"])


def serve(path: str) -> None:
    """Runs each `az` in a process of its own, with the caller's folder, environment, input and output; ends never."""
    for line in ("ad app list", "functionapp show -n x -g x", "deployment group list -g x", "role assignment list"):
        parse(*line.split())
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        while True:
            connection, _ = server.accept()
            message, files, _, _ = socket.recv_fds(connection, 1_000_000, 3)
            if os.fork() == 0:
                arguments, folder, environment = json.loads(message)
                for number, file in enumerate(files):
                    os.dup2(file, number)
                os.chdir(folder)
                os.environ.update(environment)
                code = 1
                try:
                    main("az", *arguments)
                    code = 0
                except SystemExit as ended:
                    print(ended.code if isinstance(ended.code, str) else "", file=sys.stderr)
                finally:
                    sys.stdout.flush()
                    sys.stderr.flush()
                    connection.send(bytes([code]))
                    os._exit(code)
            connection.close()
            for file in files:
                os.close(file)


def az(state: dict[str, Any], *arguments: str) -> None:
    parsed = parse(*arguments)
    if parsed.command not in ANSWERS:
        raise Refused(f"the rehearsal does not play az {parsed.command}")
    answer = ANSWERS[parsed.command](state, parsed)
    if "--query" in arguments:
        import jmespath  # type: ignore[import-untyped]

        answer = jmespath.search(arguments[arguments.index("--query") + 1], answer)
    if answer is not None and parsed._output_format != "none":
        lines = answer if isinstance(answer, list) else [answer]
        print("\n".join(map(str, lines)) if parsed._output_format == "tsv" else json.dumps(answer))


def parse(*arguments: str) -> Any:
    """The arguments by the Azure command line's own parser, which ends the program where it refuses them."""
    from azure.cli.core import get_default_cli
    from knack.events import EVENT_INVOKER_POST_PARSE_ARGS

    class Parsed(BaseException):
        pass

    def stop(_: object, **of: Any) -> None:
        raise Parsed(of["args"])

    cli = get_default_cli()
    cli.register_event(EVENT_INVOKER_POST_PARSE_ARGS, stop)
    try:
        sys.exit(cli.invoke(arguments))
    except Parsed as found:
        return found.args[0]


def deploy(state: dict[str, Any], group: str, name: str, file: str) -> dict[str, Any]:
    """Parameters and outputs of a deployment, by Bicep."""
    compiled = json.loads(build_parameters(file))
    template, given = (json.loads(compiled[part]) for part in ("templateJson", "parametersJson"))
    inner = [of["name"] for of in template["resources"].values() if of["type"] == "Microsoft.Resources/deployments"]
    if group not in state["groups"]:
        raise Refused(f"ResourceGroupNotFound: {group}")
    if name in inner:
        raise Refused(f"DeploymentActive: {name} would overwrite the deployment that is under way")
    # Defaults that are expressions are worked out by Azure alone.
    values = {key: of.get("defaultValue") for key, of in template["parameters"].items()}
    values |= {key: of["value"] for key, of in given["parameters"].items()}
    outputs = {key: state["outputs"].get(key, f"the-{key}") for key in template["outputs"]}
    outputs |= {"portalClientId": values["portalClientId"], "portalIssuer": f"https://login.example/{TENANT}/v2.0"}
    properties = {
        "timestamp": f"2026-11-26T10:00:{len(state['deployments']):02}Z",
        "parameters": {key: {"value": value} for key, value in values.items()},
        "outputs": {key: {"value": value} for key, value in outputs.items()},
    }
    state["deployments"].append({"name": name, "properties": properties})
    return properties


def build_parameters(file: str) -> str:
    return subprocess.run(
        [os.environ["BICEP"], "build-params", file, "--stdout"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def create_app(state: dict[str, Any], parsed: Any) -> dict[str, Any]:
    app = {"id": f"object-{parsed.display_name}", "appId": f"app-{parsed.display_name}", "name": parsed.display_name}
    if parsed.app_roles is not None:
        assert {role["value"] for role in parsed.app_roles} == {"Gateway.Admin", "Gateway.ClientOwner"}
    state["apps"][app["appId"]] = app
    return app


def identifier(parsed: Any) -> str:
    return str(getattr(parsed, "app_identifier", None) or parsed.identifier)


def app_of(state: dict[str, Any], parsed: Any) -> dict[str, Any]:
    """A registration that exists."""
    if identifier(parsed) not in state["apps"]:
        raise Refused(f"no application {identifier(parsed)}")
    return dict(state["apps"][identifier(parsed)])


def add_credential(state: dict[str, Any], parsed: Any) -> dict[str, Any]:
    credential = json.loads(parsed.parameters) if isinstance(parsed.parameters, str) else parsed.parameters
    assert set(credential) == {"name", "issuer", "subject", "audiences"}, credential
    app_of(state, parsed)
    state["credentials"][identifier(parsed)] = credential
    return dict(credential)


def show_credential(state: dict[str, Any], parsed: Any) -> Any:
    if identifier(parsed) not in state["credentials"]:
        raise Refused("no federated credential")
    return state["credentials"][identifier(parsed)]


def create_group(state: dict[str, Any], parsed: Any) -> dict[str, Any]:
    state["groups"][group_of(parsed)] = {"id": f"/resourceGroups/{group_of(parsed)}"}
    return dict(state["groups"][group_of(parsed)])


def group_of(parsed: Any) -> str:
    return str(getattr(parsed, "rg_name", None) or parsed.resource_group_name)


def nothing(state: dict[str, Any], parsed: Any) -> None:
    """What answers nothing that a guide needs."""


ANSWERS: dict[str, Callable[[dict[str, Any], Any], Any]] = {
    "account show": lambda state, parsed: {"tenantId": TENANT, "user": {"name": "ada@example.com"}},
    "group create": create_group,
    "group show": lambda state, parsed: state["groups"][group_of(parsed)],
    "group exists": lambda state, parsed: group_of(parsed) in state["groups"],
    "group delete": lambda state, parsed: state["groups"].pop(group_of(parsed)) and None,
    "ad app create": create_app,
    "ad app list": lambda state, parsed: [app for app in state["apps"].values() if app["name"] in parsed.query_filter],
    "ad app update": app_of,
    "ad app delete": app_of,
    "ad app permission grant": app_of,
    "ad app federated-credential create": add_credential,
    "ad app federated-credential update": add_credential,
    "ad app federated-credential show": show_credential,
    "ad sp create": app_of,
    "ad sp update": app_of,
    "ad sp show": app_of,
    "ad group show": lambda state, parsed: {"id": "22222222-2222-2222-2222-222222222222"},
    "ad group list": lambda state, parsed: [],
    "ad group create": lambda state, parsed: {"id": "22222222-2222-2222-2222-222222222222"},
    "ad signed-in-user show": lambda state, parsed: {"id": "the-operator"},
    "bicep build-params": lambda state, parsed: json.loads(build_parameters(parsed.file)),
    "deployment group what-if": nothing,
    "deployment group create": lambda state, parsed: deploy(
        state, parsed.resource_group_name, parsed.deployment_name, parsed.parameters[0][0]
    ),
    "deployment group list": lambda state, parsed: state["deployments"],
    "functionapp list-flexconsumption-locations": lambda state, parsed: [{"name": "eastus"}],
    "functionapp show": lambda state, parsed: {"functionAppConfig": {"runtime": {"version": "3.13"}}},
    "role assignment list": lambda state, parsed: [{"id": "the-id", "scope": "/resourceGroups/fhir-gateway/x"}],
    **dict.fromkeys(
        (
            *("login", "account set", "bicep install", "provider register", "ad group member add"),
            *("functionapp config hostname add", "role assignment delete", "role assignment create"),
        ),
        nothing,
    ),
}


def func(state: dict[str, Any], *arguments: str) -> None:
    """Publishes the folder it is run in."""
    app = arguments[3]
    if app not in {state["outputs"][name] for name in ("gatewayAppName", "portalAppName")} or not state["deployments"]:
        raise Refused(f"Can't find app with name {app}")
    if not Path("host.json").exists():
        raise Refused("Unable to find project root. Expecting to find one of host.json in project root.")
    if "--no-build" in arguments and not Path(".python_packages/lib/site-packages/aiohttp").is_dir():
        raise Refused("the app does not start: its libraries are not there")
    state["published"].append(app)
    print("Python Version: /tmp/oryx/platforms/python/3.13.5/bin/python3" if "--build" in arguments else "Published")


def azd(state: dict[str, Any], *arguments: str) -> None:
    """Its environment, and `up`: the hooks of azure.yaml around the deployment and the publication, in azd's order."""
    if arguments[:2] == ("env", "new"):
        values = dict(zip(arguments[3::2], arguments[4::2], strict=True))
        names = {"--subscription": "AZURE_SUBSCRIPTION_ID", "--location": "AZURE_LOCATION"}
        state["azd"] = {"AZURE_ENV_NAME": arguments[2], **{names[option]: value for option, value in values.items()}}
    elif arguments[:2] == ("env", "set"):
        state["azd"][arguments[2]] = arguments[3]
    elif arguments[0] == "up":
        up(state)


def up(state: dict[str, Any]) -> None:
    import yaml  # type: ignore[import-untyped]

    project = yaml.safe_load(Path("azure.yaml").read_text())
    environment = os.environ | state["azd"]

    def hook(name: str) -> None:
        if name in project["hooks"]:
            state_file().write_text(json.dumps(state))
            run = project["hooks"][name]["run"]
            subprocess.run(["sh", "-e", "-c", f"./{run}" if Path(run).exists() else run], env=environment, check=True)
            state.update(json.loads(state_file().read_text()))

    for name in ("preup", "prepackage", "preprovision"):
        hook(name)
    file = f"{project['infra']['path']}/{project['infra']['module']}.bicepparam"
    properties = deploy(state, environment["AZURE_RESOURCE_GROUP"], f"{environment['AZURE_ENV_NAME']}-1764150000", file)
    if properties["parameters"]["tags"]["value"] != {"azd-env-name": environment["AZURE_ENV_NAME"]}:
        raise Refused("azd does not find again what it has deployed: the tag azd-env-name is missing")
    hook("postprovision")
    sites = Path("infra/main.bicep").read_text()
    for name, service in project["services"].items():
        if f"service: '{name}'" not in sites:
            raise Refused(f"unable to find a resource tagged with 'azd-service-name: {name}'")
        if service["remoteBuild"] or not (Path(service["project"]) / service["dist"] / "host.json").exists():
            raise Refused(f"package source '{service['dist']}' is empty or does not exist")
        state["published"].append(state["outputs"][f"{name}AppName"])
    hook("postdeploy")


if __name__ == "__main__":
    if sys.argv[1] == "az":
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(os.environ["AZ_SOCKET"])
            request = json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode()
            socket.send_fds(server, [request], [0, 1, 2])
            sys.exit((server.recv(1) or b"\1")[0])
    main(*sys.argv[1:])
