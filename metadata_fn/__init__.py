"""GET {base}/metadata and {base}/.well-known/smart-configuration, anonymous."""

import azure.functions as func

from shared.functions import application, respond

_application = application()


async def main(req: func.HttpRequest) -> func.HttpResponse:
    return await respond(req, _application.documents)
