"""The host's end of the stream of messages with one worker."""

import asyncio
import logging
from asyncio import Future
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

from azure.functions import HttpRequest

from bench.functions_worker import messages
from bench.functions_worker.protocol import protos
from local.functions_host.functions import Function
from local.functions_host.logs import running

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
        self._answers: dict[str, Future[Any]] = {}
        self._invoked: dict[str, str] = {}

    async def load(self, function: Function) -> None:
        """Waits for the worker, and has it import a function. Raises WorkerError."""
        await self._initialized
        response = await self._ask(function.name, function_load_request=messages.load_request(function))
        _check(response.result)

    async def invoke(self, function: Function, request: HttpRequest) -> Any:
        """The `RpcHttp` that a loaded function returns. Raises WorkerError."""
        invocation = uuid4()
        self._invoked[str(invocation)] = function.name
        invocation_request = messages.invocation_request(function, invocation, request)
        try:
            response = await self._ask(str(invocation), invocation_request=invocation_request)
        finally:
            del self._invoked[str(invocation)]
        _check(response.result)
        return response.return_value.http

    async def EventStream(self, incoming: AsyncIterator[Any], _: object) -> AsyncIterator[Any]:
        """The service's one method, under the name it has in the protocol: the worker's messages in, ours out."""
        reading = asyncio.create_task(self._read(incoming))
        try:
            while True:
                yield await self._outgoing.get()
        finally:
            reading.cancel()

    async def _ask(self, id: str, **content: Any) -> Any:
        answer = self._answers[id] = asyncio.get_running_loop().create_future()
        self._send(**content)
        try:
            return await answer
        finally:
            del self._answers[id]

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
                    self._answered(message.function_load_response.function_id, message.function_load_response)
                case "invocation_response":
                    self._answered(message.invocation_response.invocation_id, message.invocation_response)
                case "rpc_log":
                    self._log(message.rpc_log)

    def _log(self, log: Any) -> None:
        function = None
        if log.log_category == protos.RpcLog.User:
            function = self._invoked.get(log.invocation_id)
            if function is None:
                return  # the host drops what is logged while nothing is invoked
        running.set(function)
        logging.getLogger(log.category).log(_LEVELS.get(log.level, logging.DEBUG), "%s", log.message)

    def _answered(self, id: str, response: Any) -> None:
        # Nobody waits for it any more when the client has gone.
        answer = self._answers.get(id)
        if answer is not None and not answer.done():
            answer.set_result(response)


def _check(result: Any) -> None:
    if result.status != protos.StatusResult.Success:
        raise WorkerError(f"{result.exception.message}\n{result.exception.stack_trace}")
