"""The functions of an app folder (v1 programming model): found, checked and imported."""

import importlib
import inspect
import json
import os
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from local.functions_host.routes import Route, RouteError, parse_route


class LoadError(Exception):
    """The app can't be served; the message is one line that names the file or function."""


@dataclass(frozen=True, slots=True)
class Script:
    """What a function runs: `entry_point` of `script`, which takes what triggers it as the argument named `trigger`."""

    name: str
    trigger: str
    script: Path
    entry_point: str


@dataclass(frozen=True, slots=True)
class Function(Script):
    """An HTTP function as its `function.json` has it. `methods` are upper case."""

    methods: tuple[str, ...]
    route: Route


@dataclass(frozen=True, slots=True)
class LoadedFunction(Function):
    """A function whose script is imported: `main` is its entry point."""

    main: Callable[..., Any]
    is_async: bool


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; raises LoadError."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise LoadError(f"{path.parent.name}/{path.name}: {error}") from None
    if not isinstance(content, dict):
        raise LoadError(f"{path.parent.name}/{path.name}: not an object")
    return content


def apply_settings(root: Path) -> None:
    """Puts the `Values` of `local.settings.json`, if there is one, into the environment, where existing ones win."""
    path = root / "local.settings.json"
    if not path.exists():
        return
    values = read_object(path).get("Values", {})
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise LoadError(f"{path.name}: Values must be an object of strings")
    for name, value in values.items():
        os.environ.setdefault(name, value)


def load(root: Path, only: Collection[str] = (), without: Collection[str] = ()) -> list[LoadedFunction]:
    """The functions that `find` finds, imported with `root` on the path. Raises LoadError."""
    found = find(root, only, without)
    return [LoadedFunction(**declared(function), **entry_point(function, root)) for function in found]


def find(root: Path, only: Collection[str] = (), without: Collection[str] = ()) -> list[Function]:
    """The HTTP functions below `root` in the order in which the host tries them.

    Raises LoadError, also for what the host would refuse or serve differently.
    """
    prefix = read_object(root / "host.json").get("extensions", {}).get("http", {}).get("routePrefix", "api")
    if not isinstance(prefix, str):
        raise LoadError("host.json: extensions.http.routePrefix must be a string")
    prefix = prefix.strip("/")
    found = (_read_function(folder, prefix) for folder in selected(root, only, without))
    return [function for function in found if function is not None]


def selected(root: Path, only: Collection[str], without: Collection[str]) -> list[Path]:
    """The folders of functions, in the host's order, that `only` and `without` select by name.

    A function whose `AzureWebJobs.<name>.Disabled` is set in the environment is left out. Raises LoadError.
    """
    # The host compares names in upper case, where "_" comes after the letters.
    folders = sorted((path.parent for path in root.glob("*/function.json")), key=lambda folder: folder.name.upper())
    unknown = {*only, *without} - {folder.name for folder in folders}
    if unknown:
        raise LoadError(f"no such function: {', '.join(sorted(unknown))}")
    wanted = (each for each in folders if each.name not in without and (not only or each.name in only))
    return [folder for folder in wanted if not _is_disabled(folder.name)]


def read_script(folder: Path, type: str) -> tuple[dict[str, Any], Script] | None:
    """The trigger's binding and the script of a function with a trigger of this type. Raises LoadError."""
    config = read_object(folder / "function.json")
    trigger = next((binding for binding in config.get("bindings", []) if binding.get("type") == type), None)
    if trigger is None:
        return None
    script = folder / config.get("scriptFile", "__init__.py")
    if script.parent != folder or not script.is_file():
        raise LoadError(f"{folder.name}: scriptFile is not in the function's folder: {script.name}")
    return trigger, Script(folder.name, str(trigger.get("name")), script, config.get("entryPoint", "main"))


def _read_function(folder: Path, prefix: str) -> Function | None:
    found = read_script(folder, "httpTrigger")
    if found is None:
        return None
    (trigger, script), name = found, folder.name
    # The host would ask for a function key, and hand keys out, which are not kept here.
    if trigger.get("authLevel") != "anonymous":
        raise LoadError(f"{name}: authLevel must be anonymous")
    bindings = read_object(folder / "function.json")["bindings"]
    if not any(binding.get("type") == "http" and binding.get("name") == "$return" for binding in bindings):
        raise LoadError(f"{name}: a binding of type http named $return is missing")
    if not trigger.get("methods"):
        raise LoadError(f"{name}: methods are missing")
    methods = tuple(method.upper() for method in trigger["methods"])
    route = _parse_route(name, prefix, trigger.get("route") or name)
    return Function(**declared(script), methods=methods, route=route)


def _parse_route(name: str, prefix: str, route: str) -> Route:
    if route.lower().startswith(("admin", "runtime")):
        raise LoadError(f"{name}: a route must not begin with admin or runtime: {route}")
    try:
        return parse_route(f"{prefix}/{route}" if prefix else route)
    except RouteError as error:
        raise LoadError(f"{name}: {error}") from None


def declared(script: Script) -> dict[str, Any]:
    """The fields of a function, for one that has more."""
    return {field.name: getattr(script, field.name) for field in fields(script)}


def entry_point(function: Script, root: Path) -> dict[str, Any]:
    """The entry point, imported with `root` on the path, as the fields `main` and `is_async`. Raises LoadError."""
    if str(root) not in sys.path[:1]:
        sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    name, path = function.name, function.script
    try:
        module = importlib.import_module(name if path.stem == "__init__" else f"{name}.{path.stem}")
    except Exception as error:
        raise LoadError(f"{name}: {type(error).__name__}: {error}") from error
    if module.__file__ is None or Path(module.__file__).resolve() != path.resolve():
        raise LoadError(f"{name}: another module has this name: {module.__file__}")
    main = getattr(module, function.entry_point, None)
    if not callable(main):
        raise LoadError(f"{name}: {path.name} has no function {function.entry_point}")
    if list(inspect.signature(main).parameters) != [function.trigger]:
        raise LoadError(f"{name}: the entry point must take exactly one argument, {function.trigger}")
    return {"main": main, "is_async": inspect.iscoroutinefunction(main)}


def _is_disabled(name: str) -> bool:
    # Linux has the second form, as a variable's name can't hold a dot there.
    names = (f"AzureWebJobs.{name}.Disabled", f"AzureWebJobs_{name}_Disabled")
    return any(os.environ.get(variable, "").lower() in ("true", "1") for variable in names)
