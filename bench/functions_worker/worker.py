"""`python -m bench.functions_worker.worker --host ADDRESS --root DIR`: serves the library that runs functions in Azure.

From Python 3.13 on a worker in Azure is two parts: a proxy, which is the host's end of the stream, and a library from
PyPI, `azure-functions-runtime-v1`, which loads the functions and runs them. This is the first of the two.
"""

import argparse
import asyncio
import logging
import os
import sys
import threading
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import grpc
from azure_functions_runtime_v1 import handle_event
from azure_functions_runtime_v1.utils.threadpool import start_threadpool_executor

from bench.functions_worker.protocol import protos, services

UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
_HANDLERS = {
    "worker_init_request": (handle_event.worker_init_request, "worker_init_response"),
    "function_load_request": (handle_event.function_load_request, "function_load_response"),
    "invocation_request": (handle_event.invocation_request, "invocation_response"),
}
_OWN_LOGGER = "azure.functions"
_invocation: ContextVar[str] = ContextVar("invocation", default="")


class _Logs(logging.Handler):
    """Sends each record up the stream: the library's own as the system's, all others as the function's."""

    def __init__(self, sent: "asyncio.Queue[Any]") -> None:
        super().__init__()
        self._sent = sent
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        log = protos.RpcLog(
            invocation_id=_invocation.get(),
            category=record.name,
            level=protos.RpcLog.Level.Value(_level(record.levelno)),
            message=self.format(record),
            log_category=protos.RpcLog.System if record.name == _OWN_LOGGER else protos.RpcLog.User,
        )
        message = protos.StreamingMessage(rpc_log=log)
        if threading.get_ident() == self._thread:
            self._sent.put_nowait(message)  # before the response of its invocation
        else:
            self._loop.call_soon_threadsafe(self._sent.put_nowait, message)


def _level(number: int) -> str:
    names = ((logging.CRITICAL, "Critical"), (logging.ERROR, "Error"), (logging.WARNING, "Warning"))
    return next((name for level, name in names if number >= level), "Information")


async def _serve(host: str) -> None:
    sent: asyncio.Queue[Any] = asyncio.Queue()
    logging.basicConfig(level=logging.INFO, handlers=[_Logs(sent)], format="%(message)s")
    start_threadpool_executor()
    sent.put_nowait(protos.StreamingMessage(start_stream=protos.StartStream(worker_id="worker")))
    async with grpc.aio.insecure_channel(host, options=UNLIMITED) as channel:
        stream = services.FunctionRpcStub(channel).EventStream()
        sending = asyncio.create_task(_send(stream, sent))
        running: set[asyncio.Task[None]] = set()
        async for message in stream:
            task = asyncio.create_task(_handle(message, sent))
            running.add(task)
            task.add_done_callback(running.discard)
        sending.cancel()


async def _send(stream: Any, sent: "asyncio.Queue[Any]") -> None:
    while True:
        await stream.write(await sent.get())


async def _handle(message: Any, sent: "asyncio.Queue[Any]") -> None:
    content = message.WhichOneof("content")
    if content == "invocation_request":
        _invocation.set(message.invocation_request.invocation_id)
    handler, named = _HANDLERS[content]
    response = await handler(SimpleNamespace(request=message, properties={"host": "127.0.0.1", "protos": protos}))
    sent.put_nowait(protos.StreamingMessage(request_id=message.request_id, **{named: response}))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.functions_worker.worker", description=__doc__)
    parser.add_argument("--host", required=True, help="the address of its channel")
    parser.add_argument("--root", required=True, help="the app's folder")
    options = parser.parse_args()
    # In Azure the app's folder comes last; the one that `-m` put first would hide an import that fails there.
    del sys.path[0]
    sys.path.append(options.root)
    os.chdir(options.root)
    asyncio.run(_serve(options.host))


if __name__ == "__main__":
    main()
