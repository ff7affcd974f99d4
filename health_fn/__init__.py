"""GET health: is everything reachable that the next request will need?"""

import azure.functions as func

from shared.functions import application, respond

_application = application()


async def main(req: func.HttpRequest) -> func.HttpResponse:
    return await respond(req, _application.health)
