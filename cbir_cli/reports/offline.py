"""Pages that are a single file, open from disk and need no network.

Style and script are inside, the content security policy allows nothing from elsewhere and no script but the page's own,
and every string given is escaped.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

_TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, *, styles: Sequence[str], scripts: Sequence[str], style: str = "", **told: object) -> str:
    """Fill a template.

    Parameters
    ----------
    template : str
        Its file; it includes ``head.html.j2``, and ends with ``script``.
    styles, scripts : sequence of str
        Files that stand in the page, in this order.
    style : str
        More rules, not escaped.
    **told
        What the template says.

    Returns
    -------
    str
        HTML, the same for the same input; holds no lone surrogates, so it encodes as UTF-8.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    script = _joined(scripts)
    html = environment.get_template(template).render(
        style=Markup(_joined(styles) + style),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **told,
    )
    return html.encode("utf-8", "backslashreplace").decode("utf-8")  # names may hold bytes that are no UTF-8


def _joined(names: Sequence[str]) -> str:
    return "\n".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in names)


def _breakable(text: str) -> str:
    """Escape a name and let lines break after its separators, so that a file name is not broken in mid-word."""
    from markupsafe import Markup, escape

    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?<=[-_./\\|=,;:])", text))
