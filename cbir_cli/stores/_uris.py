"""URIs of engines: their parts, and what of them may be shown."""

import re
from urllib.parse import unquote, urlsplit, urlunsplit

from cbir_cli.errors import UsageError


def shown(uri: str) -> str:
    """Return a URI without user, password and parameters: what messages may say."""
    if "://" not in uri:
        return uri
    scheme, rest = uri.split("://", 1)
    host, slash, path = re.split("[?#]", rest, maxsplit=1)[0].rpartition("@")[2].partition("/")
    return f"{scheme}://{host}{slash}{path}"


def without_user(uri: str) -> tuple[str, str, str]:
    """Return a URI without user and password, and these two, decoded; empty where there are none.

    Raises
    ------
    UsageError
        If it is no URI.
    """
    try:
        parts = urlsplit(uri)
        host = parts.netloc.rpartition("@")[2]
        user, _, password = parts.netloc.rpartition("@")[0].partition(":")
        return urlunsplit(parts._replace(netloc=host)), unquote(user), unquote(password)
    except ValueError:
        raise UsageError(f"--uri {shown(uri)}: is no URI") from None


def scrubbed(message: str, uri: str, *secrets: str) -> str:
    """Return what an engine said in one line, without secrets, and with the URI only as it is shown."""
    user = uri.partition("://")[2].rpartition("@")[0]
    hidden = {*secrets, *re.findall(r"[?&]password=([^&#]*)", uri), user.partition(":")[2]}
    message = message.replace(uri, shown(uri))
    for secret in sorted({*hidden, *map(unquote, hidden)} - {""}, key=len, reverse=True):
        message = message.replace(secret, "...")
    return " ".join(message.split())
