"""What ends a visit with a page that says what is wrong and what to do."""

from typing import ClassVar


class PortalError(Exception):
    """A visit that can't be answered as asked; `title` and the message are for the person."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong"


class NotFound(PortalError):
    """There is no such page, or none for this person: the two look the same."""

    status = 404
    title = "Not found"

    def __init__(self) -> None:
        super().__init__("There is no such page, or it is not yours to see.")


class CrossSite(PortalError):
    """The form was not sent by a page of the portal."""

    status = 403
    title = "This form was not sent from here"

    def __init__(self) -> None:
        super().__init__(
            "Nothing was changed. Go back, reload the page and send the form again; the portal needs its cookies."
        )


class BadForm(PortalError):
    """The form can't be read."""

    status = 400
    title = "The form can't be read"


class TooLarge(PortalError):
    """The form has more bytes than it may have."""

    status = 413
    title = "That is too much at once"


class Changed(PortalError):
    """Someone else was quicker."""

    status = 409
    title = "Someone else changed this meanwhile"

    def __init__(self) -> None:
        super().__init__("Nothing of yours was written. Look at it again and repeat what you wanted.")


class Unusable(PortalError):
    """A row that can't be understood stands in the way."""

    status = 409
    title = "The row has to be mended first"


class Unavailable(PortalError):
    """A store does not answer."""

    status = 503
    title = "The gateway's storage does not answer"

    def __init__(self) -> None:
        super().__init__("Try again in a moment. If you were changing something, look first whether it was done.")
