"""Functions, requests and answers as messages to and from the worker.

They hold what the Functions host puts into them for a worker with the capabilities `RawHttpBodyBytes`,
`RpcHttpBodyOnly` and `RpcHttpTriggerMetadataRemoved`, which this one has: the body once, as bytes, the request once.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from aiohttp import web
from azure.functions import HttpRequest
from multidict import CIMultiDict

from bench.functions_worker.protocol import protos
from local.functions_host.front import checked_response
from local.functions_host.functions import Function


def load_request(function: Function) -> Any:
    """What has the worker import a function, whose name is its id."""
    binding = protos.BindingInfo
    return protos.FunctionLoadRequest(
        function_id=function.name,
        metadata=protos.RpcFunctionMetadata(
            name=function.name,
            directory=str(function.script.parent),
            script_file=str(function.script),
            entry_point=function.entry_point,
            bindings={
                function.trigger: binding(type="httpTrigger", direction=binding.Direction.Value("in")),
                "$return": binding(type="http", direction=binding.Direction.Value("out")),
            },
        ),
    )


def invocation_request(function: Function, invocation: UUID, request: HttpRequest) -> Any:
    """What has the worker answer a request; `invocation` is a new id."""
    body = request.get_body()
    http = protos.RpcHttp(
        method=request.method,
        url=request.url,
        headers=request.headers,
        query=request.params,
        params=request.route_params,
        body=protos.TypedData(bytes=body) if body else None,
    )
    return protos.InvocationRequest(
        invocation_id=str(invocation),
        function_id=function.name,
        input_data=[protos.ParameterBinding(name=function.trigger, data=protos.TypedData(http=http))],
        trigger_metadata=_trigger_metadata(function, invocation, request),
        trace_context={"trace_parent": f"00-{invocation.hex}-{invocation.hex[:16]}-00"},
    )


def answer(request: HttpRequest, http: Any) -> web.Response:
    """The answer to a request that the function gave. Raises ResponseError."""
    kind = http.body.WhichOneof("data")
    content = getattr(http.body, kind) if kind else b""
    body = content.encode() if isinstance(content, str) else content
    return checked_response(request.method, int(http.status_code), CIMultiDict(http.headers), body)


def _trigger_metadata(function: Function, invocation: UUID, request: HttpRequest) -> dict[str, Any]:
    """What the host's HTTP extension adds to every invocation, whether or not anybody looks at it."""
    headers, query = dict(request.headers), dict(request.params)
    system = {"MethodName": function.name, "UtcNow": datetime.now(UTC), "RandGuid": str(invocation)}
    return {
        **{name: protos.TypedData(string=value) for name, value in (query | dict(request.route_params)).items()},
        **{
            name: protos.TypedData(json=orjson.dumps(value).decode())
            for name, value in (("Query", query), ("Headers", headers), ("sys", system))
        },
    }
