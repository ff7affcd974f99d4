"""GET .well-known/oauth-authorization-server and .well-known/openid-configuration, anonymous."""

import azure.functions as func

from shared.functions import application, respond

_application = application()


async def main(req: func.HttpRequest) -> func.HttpResponse:
    return await respond(req, _application.documents)
