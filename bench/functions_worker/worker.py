"""`python -m bench.functions_worker.worker --host ADDRESS --root DIR`: serves the library that runs functions in Azure.

From Python 3.13 on a worker in Azure is two parts: a proxy, which is the host's end of the stream, and a library from
PyPI, `azure-functions-runtime-v1`, which loads the functions and runs them. This is the first of the two, made as
`proxy_worker` of Azure/azure-functions-python-worker is: the stream has a thread of its own with a queue to it, the
functions run on one uvloop, a line of the log is the invocation's whose task logs it, and each request is logged.
"""

import argparse
import asyncio
import logging
import os
import queue
import sys
import threading
from types import SimpleNamespace
from typing import Any

import grpc
import uvloop
from azure_functions_runtime_v1 import handle_event
from azure_functions_runtime_v1.utils.threadpool import start_threadpool_executor

from bench.functions_worker.protocol import protos, services

UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
_HANDLERS = {
    "worker_init_request": (handle_event.worker_init_request, "worker_init_response"),
    "function_load_request": (handle_event.function_load_request, "function_load_response"),
    "invocation_request": (handle_event.invocation_request, "invocation_response"),
}
_SYSTEM_LOGGERS = ("proxy_worker", "azure.functions", "azure_functions_runtime")
_log = logging.getLogger("proxy_worker")
_Queue = queue.SimpleQueue[Any]


class _Task(asyncio.Task[Any]):
    """A task that belongs to the invocation of the task that made it."""

    invocation: str


def _task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> _Task:
    task = _Task(coroutine, loop=loop, **options)
    task.invocation = getattr(asyncio.current_task(loop), "invocation", "")
    return task


def _invocation() -> str:
    try:
        return getattr(asyncio.current_task(), "invocation", "")
    except RuntimeError:  # a thread without a loop
        return ""


class _Logs(logging.Handler):
    """Sends each record up the stream: the worker's own as the system's, all others as the function's."""

    def __init__(self, sent: _Queue) -> None:
        super().__init__()
        self._sent = sent

    def emit(self, record: logging.LogRecord) -> None:
        log = protos.RpcLog(
            invocation_id=_invocation(),
            category=record.name,
            level=protos.RpcLog.Level.Value(_level(record.levelno)),
            message=self.format(record),
            log_category=protos.RpcLog.System if record.name.startswith(_SYSTEM_LOGGERS) else protos.RpcLog.User,
        )
        self._sent.put(protos.StreamingMessage(rpc_log=log))


def _level(number: int) -> str:
    names = ((logging.CRITICAL, "Critical"), (logging.ERROR, "Error"), (logging.WARNING, "Warning"))
    return next((name for level, name in names if number >= level), "Information")


async def _serve(host: str) -> None:
    loop, sent, ended = asyncio.get_running_loop(), _Queue(), asyncio.Event()
    loop.set_task_factory(_task)
    logging.basicConfig(level=logging.INFO, handlers=[_Logs(sent)], format="%(message)s")
    start_threadpool_executor()
    sent.put(protos.StreamingMessage(start_stream=protos.StartStream(worker_id="worker")))

    def stream() -> None:
        try:
            with grpc.insecure_channel(host, options=UNLIMITED) as channel:
                for message in services.FunctionRpcStub(channel).EventStream(iter(sent.get, None)):
                    loop.call_soon_threadsafe(loop.create_task, _handle(message, sent))
        finally:
            loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=stream, daemon=True).start()
    await ended.wait()


async def _handle(message: Any, sent: _Queue) -> None:
    content = message.WhichOneof("content")
    if content == "invocation_request":
        request = message.invocation_request
        _log.info("Received FunctionInvocationRequest, %s, %s", request.function_id, request.invocation_id)
        if isinstance(task := asyncio.current_task(), _Task):
            task.invocation = request.invocation_id
    handler, named = _HANDLERS[content]
    response = await handler(SimpleNamespace(request=message, properties={"host": "127.0.0.1", "protos": protos}))
    sent.put(protos.StreamingMessage(request_id=message.request_id, **{named: response}))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.functions_worker.worker", description=__doc__)
    parser.add_argument("--host", required=True, help="the address of its channel")
    parser.add_argument("--root", required=True, help="the app's folder")
    options = parser.parse_args()
    # In Azure the app's folder comes last; the one that `-m` put first would hide an import that fails there.
    del sys.path[0]
    sys.path.append(options.root)
    os.chdir(options.root)
    uvloop.run(_serve(options.host))


if __name__ == "__main__":
    main()
