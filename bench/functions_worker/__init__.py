"""The real Python worker of Azure Functions, and a host that serves the project's functions in it.

The host is `local.functions_host`, but its functions run in another process: Microsoft's worker, to which it speaks
gRPC as the real host does.
"""
