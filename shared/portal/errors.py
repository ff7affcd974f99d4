"""Errors that a person sees as a page with what is wrong and what to do."""

from typing import ClassVar


class PortalError(Exception):
    """A request that can't be served as asked; `title` and the message are for the person."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong"
    message: ClassVar[str] = "It has been logged. Try again, or tell the operator."

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.message)


class NotFound(PortalError):
    """There is no such page, or none for this person: the two look the same."""

    status = 404
    title = "Not found"
    message = "There is no such page, or it is not yours to see."


class CrossOrigin(PortalError):
    """The form was not sent by a page of the portal."""

    status = 403
    title = "This form was not sent from here"
    message = (
        "Nothing was changed. Open the form in the portal and send it from there; "
        "if it was sent from there, the browser is too old for the portal."
    )


class BadForm(PortalError):
    """The form can't be read."""

    status = 400
    title = "The form can't be read"
    message = "It did not arrive as a browser sends it."


class TooLarge(PortalError):
    """The form has more bytes than it may have."""

    status = 413
    title = "That is too much at once"


class ChangedMeanwhile(PortalError):
    """Someone else changed the row between reading and writing it."""

    status = 409
    title = "Someone else changed this meanwhile"
    message = "Nothing of yours was written. Look at it again and repeat what you wanted."


class UnusableRow(PortalError):
    """A row that can't be understood stands in the way."""

    status = 409
    title = "The row has to be mended first"


class Unavailable(PortalError):
    """A store does not respond."""

    status = 503
    title = "The gateway's storage does not answer"
    message = "Try again in a moment. If you were changing something, look first whether it was done."
