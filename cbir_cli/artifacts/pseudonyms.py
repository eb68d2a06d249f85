"""Stand-ins for patient and study identifiers.

An artifact holds a keyed hash of each identifier, so the same patient has the same stand-in in every artifact made
with the same key, and nobody without the key can find the identifier by trying them all. The key is a file that each
user keeps: ``$CBIR_KEY``, else ``~/.config/cbir/key``, made at first use.

The stand-in of a UID is a UID below ``2.25.``, as DICOM derives them from a UUID: it cannot meet the UID of anything
else, and a program that expects a UID can read it. Any other identifier becomes 16 hexadecimal digits. Names of files
are hidden with the same stand-ins (see ``cbir_cli.names``).
"""

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cbir_cli import names
from cbir_cli.errors import CbirError


@dataclass(frozen=True)
class Pseudonyms:
    """Turns an identifier into what may be written; the empty identifier stays empty.

    Attributes
    ----------
    key : bytes or None
        HMAC-SHA256 stand-ins; None keeps identifiers as they are (``--keep-ids``).
    """

    key: bytes | None

    def __call__(self, identifier: str) -> str:
        """Return the stand-in of an identifier."""
        if self.key is None or not identifier:
            return identifier
        digest = hmac.digest(self.key, identifier.encode(), hashlib.sha256)
        return names.uid_of(digest) if names.is_uid(identifier) else digest.hex()[:16]

    @property
    def check(self) -> str:
        """Which key this is, without telling it; ``kept`` where identifiers are kept."""
        return "kept" if self.key is None else self("cbir pseudonym key")


def from_environment(*, keep: bool = False) -> Pseudonyms:
    """Return the stand-ins of this user's key, making the key if there is none.

    Parameters
    ----------
    keep : bool
        Keep identifiers as they are.

    Raises
    ------
    CbirError
        If the key file cannot be read or made.
    """
    if keep:
        return Pseudonyms(None)
    named = os.environ.get("CBIR_KEY")
    path = Path(named) if named else Path.home() / ".config" / "cbir" / "key"
    try:
        if not named and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                pass  # another process made it meanwhile
            else:
                with os.fdopen(descriptor, "w") as file:
                    file.write(secrets.token_hex(32) + "\n")
        key = path.read_bytes().strip()
    except OSError as error:
        raise CbirError(f"{path}: the key for patient pseudonyms cannot be used: {error.strerror}") from error
    if len(key) < 16:
        raise CbirError(f"{path}: the key for patient pseudonyms has fewer than 16 bytes")
    return Pseudonyms(key)
