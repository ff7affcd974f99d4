"""The host's end of the stream of messages with one worker.

The messages hold what the Functions host puts into them for a worker with the capabilities `RawHttpBodyBytes`,
`RpcHttpBodyOnly` and `RpcHttpTriggerMetadataRemoved`, which this one has: the body once, as bytes, the request once.
"""

import asyncio
import logging
from asyncio import Future
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
from aiohttp import web
from azure.functions import HttpRequest
from multidict import CIMultiDict

from bench.functions_worker.protocol import protos
from local.functions_host.functions import Function
from local.functions_host.logs import running_function
from local.functions_host.server import checked_response
from local.functions_host.timers import Timer

_LEVELS = {
    protos.RpcLog.Critical: logging.CRITICAL,
    protos.RpcLog.Error: logging.ERROR,
    protos.RpcLog.Warning: logging.WARNING,
    protos.RpcLog.Information: logging.INFO,
    protos.RpcLog.Debug: logging.DEBUG,
}


class WorkerError(Exception):
    """The worker could not load a function, or an invocation failed there; the message is the worker's."""


class WorkerChannel:
    """Loads functions into the worker that connects, and invokes them there."""

    def __init__(self) -> None:
        self._outgoing: asyncio.Queue[Any] = asyncio.Queue()
        self._initialized: Future[None] = asyncio.get_running_loop().create_future()
        self._responses: dict[str, Future[Any]] = {}
        self._invoked: dict[str, str] = {}

    async def load(self, function: Function | Timer) -> None:
        """Waits for the worker, and has it import a function. Raises WorkerError."""
        await self._initialized
        response = await self._request(function.name, function_load_request=_load_request(function))
        _check(response.result)

    async def invoke(self, function: Function, request: HttpRequest) -> web.Response:
        """The response of a loaded function. Raises WorkerError, ResponseError."""
        invocation = uuid4()
        self._invoked[str(invocation)] = function.name
        message = _invocation_request(function, invocation, request)
        try:
            response = await self._request(str(invocation), invocation_request=message)
        finally:
            del self._invoked[str(invocation)]
        _check(response.result)
        http = response.return_value.http
        kind = http.body.WhichOneof("data")
        content = getattr(http.body, kind) if kind else b""
        body = content.encode() if isinstance(content, str) else content
        return checked_response(request.method, int(http.status_code), CIMultiDict(http.headers), body)

    async def invoke_timer(self, timer: Timer) -> None:
        """Calls a loaded timer function. Raises WorkerError."""
        invocation = str(uuid4())
        self._invoked[invocation] = timer.name
        data = protos.TypedData(json='{"Schedule":{"AdjustForDST":true},"ScheduleStatus":null,"IsPastDue":false}')
        message = protos.InvocationRequest(
            invocation_id=invocation,
            function_id=timer.name,
            input_data=[protos.ParameterBinding(name=timer.trigger, data=data)],
        )
        try:
            _check((await self._request(invocation, invocation_request=message)).result)
        finally:
            del self._invoked[invocation]

    async def EventStream(self, incoming: AsyncIterator[Any], _: object) -> AsyncIterator[Any]:
        """The service's one method, under the name it has in the protocol: the worker's messages in, ours out."""
        reading = asyncio.create_task(self._read(incoming))
        try:
            while True:
                yield await self._outgoing.get()
        finally:
            reading.cancel()

    async def _request(self, id: str, **content: Any) -> Any:
        response = self._responses[id] = asyncio.get_running_loop().create_future()
        self._send(**content)
        try:
            return await response
        finally:
            del self._responses[id]

    def _send(self, **content: Any) -> None:
        self._outgoing.put_nowait(protos.StreamingMessage(**content))

    async def _read(self, incoming: AsyncIterator[Any]) -> None:
        async for message in incoming:
            match message.WhichOneof("content"):
                case "start_stream":
                    self._send(worker_init_request=protos.WorkerInitRequest())
                case "worker_init_response":
                    self._initialized.set_result(None)
                case "function_load_response":
                    self._received(message.function_load_response.function_id, message.function_load_response)
                case "invocation_response":
                    self._received(message.invocation_response.invocation_id, message.invocation_response)
                case "rpc_log":
                    self._log(message.rpc_log)

    def _log(self, log: Any) -> None:
        function = None
        if log.log_category == protos.RpcLog.User:
            function = self._invoked.get(log.invocation_id)
            if function is None:
                return  # the host drops what is logged while nothing is invoked
        running_function.set(function)
        logging.getLogger(log.category).log(_LEVELS.get(log.level, logging.DEBUG), "%s", log.message)

    def _received(self, id: str, response: Any) -> None:
        # Nobody waits for the response any more when the client has gone.
        waiting = self._responses.get(id)
        if waiting is not None and not waiting.done():
            waiting.set_result(response)


def _check(result: Any) -> None:
    if result.status != protos.StatusResult.Success:
        raise WorkerError(f"{result.exception.message}\n{result.exception.stack_trace}")


def _load_request(function: Function | Timer) -> Any:
    """The message that has the worker import a function, whose name is its id."""
    binding = protos.BindingInfo
    into, out = binding.Direction.Value("in"), binding.Direction.Value("out")
    bindings = {function.trigger: binding(type="timerTrigger", direction=into)}
    if isinstance(function, Function):
        bindings = {function.trigger: binding(type="httpTrigger", direction=into)}
        bindings["$return"] = binding(type="http", direction=out)
    return protos.FunctionLoadRequest(
        function_id=function.name,
        metadata=protos.RpcFunctionMetadata(
            name=function.name,
            directory=str(function.script.parent),
            script_file=str(function.script),
            entry_point=function.entry_point,
            bindings=bindings,
        ),
    )


def _invocation_request(function: Function, invocation: UUID, request: HttpRequest) -> Any:
    """The message that has the worker call a function; `invocation` is a new id."""
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


def _trigger_metadata(function: Function, invocation: UUID, request: HttpRequest) -> dict[str, Any]:
    """The fields that the host's HTTP extension adds to every invocation, whether or not anybody looks at them."""
    headers, query = dict(request.headers), dict(request.params)
    system = {"MethodName": function.name, "UtcNow": datetime.now(UTC), "RandGuid": str(invocation)}
    return {
        **{name: protos.TypedData(string=value) for name, value in (query | dict(request.route_params)).items()},
        **{
            name: protos.TypedData(json=orjson.dumps(value).decode())
            for name, value in (("Query", query), ("Headers", headers), ("sys", system))
        },
    }
