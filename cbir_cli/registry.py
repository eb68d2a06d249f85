"""A folder is a registry: the module names in it are the method names.

Listing a folder imports nothing, so ``--help`` stays fast. Module ``grad_cam`` is the method ``grad-cam``, and
``grad_cam_plus_plus`` is ``grad-cam++``; the underscores may be typed as well. Files that start with an underscore are
helpers, not methods. Method parameters are the keyword-only arguments with defaults of the method's function, and the
command line reaches them with ``--set KEY=VALUE``.

A module without its folder's function is a family, of one of two kinds. Either each of its public functions is a
method, so that ``epsilon`` in ``saliency/lrp.py`` is ``lrp.epsilon``; or the constant ``MEMBERS``, written out in the
module, names them, and ``member(name)`` returns each, an object with the folder's function and constants: so
``models/torchvision.py`` has ``torchvision.resnet18``.

A module may import its folder's function from a helper, where several methods share it. The constant ``ALIASES``,
written out in the module, lists other names that the field has for the same method: ``ap`` for ``average-precision``.
"""

import ast
import contextlib
import difflib
import functools
import importlib
import inspect
import pkgutil
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from cbir_cli.errors import UsageError

FUNCTIONS = {
    "data": "read",
    "models": "build",
    "objectives": "loss",
    "saliency": "explain",
    "similarity": "explain",
    "index": "build",
    "fusion": "fuse",
    "stores": "open",
    "metrics/ranking": "score",
    "metrics/explanation": "score",
    "metrics/classification": "score",
    "metrics/anomaly": "score",
    "metrics/agreement": "score",
    "phantom": "build",
}
"""Every method folder, and the function that each of its modules has, if the module is not a family."""

_ROOT = Path(__file__).parent


def names(folder: str) -> list[str]:
    """Return the method names of a folder, for instance ``names("metrics/ranking")``, sorted."""
    return sorted(name for stem in _stems(folder) for name in _methods(folder, stem))


def listed(folder: str) -> list[str]:
    """Return the names as a reader wants them: a family that lists its ``MEMBERS`` is one, ``torchvision.*``."""
    return sorted(
        name
        for stem in _stems(folder)
        for name in ([f"{canonical(stem)}.*"] if _members(folder, stem) else _methods(folder, stem))
    )


def aliases(folder: str) -> dict[str, str]:
    """Return the other names that methods of a folder go by, and which method each is."""
    return {
        canonical(alias): canonical(stem) for stem in _stems(folder) for alias in _constant(folder, stem, "ALIASES")
    }


def canonical(name: str) -> str:
    """Return a method's name as it is listed: ``deep-taylor`` for ``deep_taylor``."""
    return name.replace("_plus_plus", "++").replace("_", "-")


def module_name(name: str) -> str:
    """Return what a method is called in the code: ``deep_taylor``, or ``lrp.epsilon`` for a member of a family."""
    return canonical(name).replace("++", "_plus_plus").replace("-", "_")


@functools.cache  # asked for with every map; listing a folder reads its files
def load(folder: str, name: str) -> Any:
    """Import one method of a folder.

    Returns
    -------
    module or object with the attributes of one
        The method's module. For a member of a family what ``member`` returns, or a ``Member``:
        ``load("saliency", "lrp.epsilon").explain``.

    Raises
    ------
    UsageError
        If the folder has no such method; the message lists those it has.
    """
    known = names(folder)
    name = aliases(folder).get(canonical(name), name)
    if canonical(name) not in known:
        raise unknown(f"{folder} method", name, known, listed(folder))
    stem, _, member = module_name(name).partition(".")
    module = importlib.import_module(f"cbir_cli.{folder.replace('/', '.')}.{stem}")
    if not member:
        return module
    return module.member(member) if _members(folder, stem) else Member(module, member, FUNCTIONS[folder])


class Member:
    """One function of a family: it stands for the folder's function, and all else is the family's.

    Parameters
    ----------
    family : ModuleType
    name : str
        Of the function in it.
    role : str
        Of the folder's function: ``explain``.
    """

    def __init__(self, family: ModuleType, name: str, role: str) -> None:
        function = getattr(family, name)
        self._family = family
        self.__doc__ = f"{function.__doc__}\n\n{family.__doc__}"
        setattr(self, role, function)

    def __getattr__(self, name: str) -> Any:  # asked for what is not found here
        return getattr(self._family, name)


def _stems(folder: str) -> Iterator[str]:
    """Yield the modules of a folder that are no helpers."""
    return (m.name for m in pkgutil.iter_modules([str(_ROOT / folder)]) if not m.name.startswith("_"))


def _text(folder: str, stem: str) -> str:
    path = _ROOT / folder / f"{stem}.py"
    return path.read_text("utf-8") if path.exists() else ""


def _members(folder: str, stem: str) -> list[str]:
    """Return the ``MEMBERS`` of a module, read from its text; none where it has no such constant."""
    return _constant(folder, stem, "MEMBERS")


def _constant(folder: str, stem: str, name: str) -> list[str]:
    """Return the names in a constant of a module, read from its text; none where it has no such constant."""
    text = _text(folder, stem)
    if not re.search(f"^{name} = ", text, re.M):
        return []
    assigned = (node for node in ast.parse(text).body if isinstance(node, ast.Assign))
    return list(next(ast.literal_eval(a.value) for a in assigned if ast.unparse(a.targets[0]) == name))


def _methods(folder: str, stem: str) -> list[str]:
    """Return the methods of a module: itself, or what a family holds, read from its text."""
    text, members = _text(folder, stem), _members(folder, stem)
    if not members:
        if not text or re.search(rf"^(def {FUNCTIONS[folder]}\(|from .+ import .*\b{FUNCTIONS[folder]}\b)", text, re.M):
            return [canonical(stem)]
        functions = [node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
        members = [name for name in functions if not name.startswith("_") and name != "fit"]
    return [canonical(f"{stem}.{name}") for name in members]


def unknown(kind: str, name: str, known: Iterable[str], listed: Iterable[str] | None = None) -> UsageError:
    """Build the error for a name that does not exist, with the nearest known one first; ``listed`` is what is shown."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return UsageError(f"unknown {kind} {name!r}: {hint}known: {', '.join(listed or known) or 'none'}")


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
    if isinstance(default, str):
        return text
    if isinstance(default, tuple):
        return tuple(_value(pair, item.strip(), default[0]) for item in text.strip("[]").split(","))
    try:
        value = tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        value = text
        if isinstance(default, float):  # .5 and 5. are no numbers of TOML
            with contextlib.suppress(ValueError):
                value = float(text)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if default is None or type(value) is type(default):
        return value
    kind = {"int": "a whole number", "float": "a number", "bool": "true or false"}.get(type(default).__name__)
    raise UsageError(f"--set {pair}: expected {kind or type(default).__name__}, found {text!r}")
