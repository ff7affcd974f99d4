"""The library that runs Python functions in Azure, and a host that serves the project's functions in it.

The host is `local.functions_host`, its functions in another process, to which it speaks gRPC as the real host does.
"""
