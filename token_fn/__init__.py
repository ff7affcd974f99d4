"""POST oauth2/token, GET oauth2/keys, and oauth2/authorize, which refuses."""

import azure.functions as func

from shared.functions import application, respond

_application = application()


async def main(req: func.HttpRequest) -> func.HttpResponse:
    return await respond(req, _application.oauth)
