"""The least a function can do: what the host itself costs."""

import azure.functions as func


async def main(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("ok")
