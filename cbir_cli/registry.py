"""A folder is a registry: the module names in it are the method names.

Listing a folder imports nothing, so ``--help`` stays fast. Module ``grad_cam`` is the method ``grad-cam``; files that
start with an underscore are helpers, not methods. Method parameters are the keyword-only arguments with defaults of the
method's function, and the command line reaches them with ``--set KEY=VALUE``.
"""

import difflib
import importlib
import inspect
import pkgutil
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from cbir_cli.errors import UsageError

_ROOT = Path(__file__).parent


def names(folder: str) -> list[str]:
    """Return the method names of a folder, for instance ``names("metrics/ranking")``, sorted."""
    modules = pkgutil.iter_modules([str(_ROOT / folder)])
    return sorted(m.name.replace("_", "-") for m in modules if not m.name.startswith("_"))


def load(folder: str, name: str) -> ModuleType:
    """Import one method of a folder.

    Raises
    ------
    UsageError
        If the folder has no such method; the message lists those it has.
    """
    known = names(folder)
    if name not in known:
        raise unknown(f"{folder} method", name, known)
    return importlib.import_module(f"cbir_cli.{folder.replace('/', '.')}.{name.replace('-', '_')}")


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Build the error for a name that does not exist, with the nearest known one first."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return UsageError(f"unknown {kind} {name!r}: {hint}known: {', '.join(known) or 'none'}")


def parameters(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the keyword-only parameters of a method that have a default, with that default."""
    signature = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in signature if p.kind is p.KEYWORD_ONLY and p.default is not p.empty}


def settings(pairs: Iterable[str], defaults: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Parse ``KEY=VALUE`` strings against known parameters.

    Parameters
    ----------
    pairs : iterable of str
        As given to ``--set``; the last one wins.
    defaults : mapping
        Known parameters and their defaults; a value must have the default's type, except that an integer is accepted
        for a float and anything for a default of None.
    what : str
        What has these parameters, for the message.

    Returns
    -------
    dict
        Only the parameters that were set.

    Raises
    ------
    UsageError
        If a key is unknown (the known ones are listed), or a value has another type.
    """
    result: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        key = key.strip().replace("-", "_")
        if not equals:
            raise UsageError(f"--set {pair}: expected KEY=VALUE")
        if key not in defaults:
            raise unknown(f"parameter of {what}", key, defaults)
        result[key] = _value(pair, text.strip(), defaults[key])
    return result


def _value(pair: str, text: str, default: Any) -> Any:
    try:
        value = tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        value = text
    if isinstance(default, str):
        return text
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if default is None or type(value) is type(default):
        return value
    if isinstance(default, tuple):
        items = value if isinstance(value, list) else [_value(pair, t, default[0]) for t in text.split(",")]
        return tuple(items)
    raise UsageError(f"--set {pair}: expected a {type(default).__name__}, found {text!r}")
