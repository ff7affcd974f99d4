"""Cookies of the portal (RFC 6265). A response has room for one: the worker takes one value for a header's name."""


def read_cookies(header: str) -> dict[str, str]:
    """The cookies of a `Cookie` header; of two with one name the first, which has the longer path."""
    cookies: dict[str, str] = {}
    for pair in header.split(";"):
        name, _, value = pair.partition("=")
        cookies.setdefault(name.strip(), value.strip())
    return cookies


def cookie(name: str, value: str, *, same_site: str, secure: bool, seconds: int | None = None) -> str:
    """A `Set-Cookie` value for the whole host, out of scripts' reach.

    `value` is base64url and dots: the host percent-encodes anything else. `same_site` is Strict or Lax; `seconds` is
    the cookie's life, else the browser's.
    """
    age = "" if seconds is None else f"; Max-Age={seconds}"
    return f"{name}={value}; Path=/; HttpOnly; SameSite={same_site}{age}{'; Secure' if secure else ''}"
