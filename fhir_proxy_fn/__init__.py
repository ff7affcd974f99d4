"""Everything under {base} but the statement: a FHIR request, taken to its tenant's provider."""

import azure.functions as func

from shared.functions import application, respond

_application = application()


async def main(req: func.HttpRequest) -> func.HttpResponse:
    return await respond(req, _application.gateway)
