"""The root, and every path whose first segment is no other function's: where to go instead."""

import azure.functions as func

from shared.functions import application, respond

_application = application()


async def main(req: func.HttpRequest) -> func.HttpResponse:
    return await respond(req, _application.root)
