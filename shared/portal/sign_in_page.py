"""Signing in on a laptop: one says who one is and as what one looks at the portal."""

from collections.abc import Sequence

from shared.message import Response
from shared.portal.pages import Pages, see_other
from shared.portal.principal import Role
from shared.portal.sign_in import LocalSignIn
from shared.portal.visit import Audience, Route, Visit

_MOST_CHARACTERS = 64
_UNPROCESSABLE = 422


class SignInPage:
    """The form for a name and a role, and the way out."""

    def __init__(self, pages: Pages, sign_in: LocalSignIn) -> None:
        self._pages = pages
        self._sign_in = sign_in

    def routes(self) -> Sequence[Route]:
        """The page and what its forms do."""
        return (
            Route("GET", "/sign-in", self._ask, Audience.ANYONE),
            Route("POST", "/sign-in", self._let_in, Audience.ANYONE),
            Route("POST", "/sign-out", self._let_out, Audience.ANYONE),
        )

    async def _ask(self, visit: Visit) -> Response:
        return self._pages.page("sign_in.html", visit, roles=Role, name="", role=Role.ADMIN.value, problem=None)

    async def _let_in(self, visit: Visit) -> Response:
        name, role = visit.form.get("name", "").strip(), visit.form.get("role", "")
        if not name or len(name) > _MOST_CHARACTERS or not name.isprintable():
            problem = f"A name has 1 to {_MOST_CHARACTERS} printable characters."
            context = {"roles": Role, "name": name, "role": role, "problem": problem}
            return self._pages.page("sign_in.html", visit, _UNPROCESSABLE, **context)
        chosen = Role.ADMIN if role == Role.ADMIN.value else Role.CLIENT_OWNER
        return see_other("/clients", headers={"Set-Cookie": self._sign_in.cookie(name, chosen)})

    async def _let_out(self, visit: Visit) -> Response:
        return see_other("/sign-in", headers={"Set-Cookie": self._sign_in.cookie_of_nobody()})
