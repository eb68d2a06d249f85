"""URIs of engines: their parts, and what of them may be shown."""

import re
from urllib.parse import unquote, urlsplit, urlunsplit


def shown(uri: str) -> str:
    """Return a URI without user, password and parameters: what messages may say."""
    if "://" not in uri:
        return uri
    scheme, rest = uri.split("://", 1)
    host, slash, path = re.split("[?#]", rest, maxsplit=1)[0].rpartition("@")[2].partition("/")
    return f"{scheme}://{host}{slash}{path}"


def without_user(uri: str) -> tuple[str, str, str]:
    """Return a URI without user and password, and these two, decoded; empty where there are none."""
    parts = urlsplit(uri)
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])), unquote(user), unquote(password)


def scrubbed(message: str, uri: str, *secrets: str) -> str:
    """Return what an engine said in one line, without secrets and with the URI only as it is shown."""
    for secret in sorted({uri, *secrets} - {""}, key=len, reverse=True):
        message = message.replace(secret, shown(uri) if secret == uri else "...")
    return " ".join(message.split())
