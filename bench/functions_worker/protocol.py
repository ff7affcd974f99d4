"""The messages that host and worker exchange, from the worker's own package.

Its generated modules are of a generation that current protobuf refuses, and the one that takes them has no fast
implementation for Python 3.11. The descriptors in them are good: the classes are made of those, under the same names.
"""

import ast
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

# The last two are imported by the worker's own files, and are known to protobuf once they are imported here.
from google.protobuf import descriptor_pool, message_factory
from google.protobuf import duration_pb2 as _duration  # noqa: F401
from google.protobuf import timestamp_pb2 as _timestamp  # noqa: F401

_PACKAGE = "azure_functions_worker"
_FILES = ("shared/NullableTypes", "identity/ClaimsIdentityRpc", "FunctionRpc")


def _load() -> Any:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ImportError(f"{_PACKAGE} is not installed")
    protos = Path(spec.origin).parent / "protos"
    pool = descriptor_pool.Default()
    for file in _FILES:
        pool.AddSerializedFile(_descriptor(protos / f"{file}_pb2.py"))
        module = ModuleType(f"{_PACKAGE}.protos.{file.replace('/', '.')}_pb2")
        for name, message in pool.FindFileByName(f"{file}.proto").message_types_by_name.items():
            setattr(module, name, message_factory.GetMessageClass(message))
        sys.modules[module.__name__] = module
    return importlib.import_module(f"{_PACKAGE}.protos")


def _descriptor(generated: Path) -> bytes:
    """The serialized descriptor of a file, as its generated module gives it to protobuf."""
    for node in ast.walk(ast.parse(generated.read_bytes())):
        match node:
            case ast.keyword(arg="serialized_pb", value=ast.Constant(value=bytes() as descriptor)):
                return descriptor
    raise ImportError(f"{generated.name} has no descriptor")


protos = _load()
"""The worker's `protos` package: the messages, and how to serve them."""
