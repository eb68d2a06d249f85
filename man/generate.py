"""Write the man pages and the generated documents; ``--check`` only says which of them are out of date.

    python man/generate.py            write man/man1/*.1, docs/artifacts.md and docs/methods.md
    python man/generate.py --check    exit 1 and name what differs

Options come from the Typer tree, method names and parameters from the method folders (read as text: nothing heavy is
imported), schemas from the docstrings of ``artifacts/``. By hand are ``cbir.txt`` (the top page), the files in
``examples/``, and what stands above the mark in the two documents. Markup of the text files: paragraphs apart by blank
lines, ``# TITLE`` for a section, four blanks before code, ``term :: text`` for a list, double backticks for literal
text, ``@NAME@`` for a part that is generated.
"""

import argparse
import ast
import inspect
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "cbir_cli"
sys.path.insert(0, str(ROOT))  # the clone's own package, whatever is installed

from cbir_cli import registry, tasks  # noqa: E402
from cbir_cli.cli import tree  # noqa: E402
from cbir_cli.cli.main import COMMANDS  # noqa: E402
from cbir_cli.recipe import OPTIMIZERS, Recipe  # noqa: E402

DATE = "2026-11-21"
"""Of all pages; a constant, so that the same sources give the same pages."""

WHAT = "content-based medical image retrieval by disease and severity, with reasons"

MARK = "<!-- Everything below is written by man/generate.py. -->\n"

FOLDERS = {
    "data": "Readers",
    "models": "Networks",
    "objectives": "Objectives",
    "saliency": "Saliency methods",
    "similarity": "Similarity explainers",
    "index": "Index kinds",
    "fusion": "Fusion of ranked lists",
    "metrics/ranking": "Metrics of ranked lists",
    "metrics/classification": "Metrics of classifiers",
    "metrics/anomaly": "Metrics of anomalies",
    "metrics/explanation": "Metrics of saliency maps",
    "metrics/agreement": "Agreement of raters",
    "phantom": "Phantoms",
}
"""Every method folder, and what its modules are called."""

SETTABLE = ("saliency", "similarity", "index", "fusion")
"""Folders whose method parameters ``--set`` reaches."""

CHOICES = {
    "saliency": ("saliency",),
    "explain": ("similarity",),
    "index": ("index",),
    "query": ("fusion",),
    "phantom": ("phantom",),
    "evaluate": (
        "metrics/ranking",
        "metrics/classification",
        "metrics/anomaly",
        "metrics/explanation",
        "metrics/agreement",
    ),
}
"""Folders whose methods a command chooses from."""

ENVIRONMENT = {
    "CBIR_DATA": "Images to use where SOURCE is not given.",
    "CBIR_MODEL": "Model to use where -m is not given.",
    "CBIR_KEY": (
        "File with the key that patient and study identifiers are hidden with, 16 bytes or more; else "
        "~/.config/cbir/key, which is made at first use. All stages of an experiment need the same key."
    ),
    "CBIR_TIMEOUT": (
        "Seconds that a DICOM or TIFF image may take to decode before it counts as unreadable; 60 by default, 0 for no "
        "limit."
    ),
    "CBIR_DEBUG": "If set, an error shows its traceback, as with --debug.",
    "NO_COLOR": "If set, tables on a terminal have no colour.",
    "SLURM_CPUS_PER_TASK": "Default of --workers and --threads in a SLURM job; else all cores that may be used.",
    "TORCH_HOME": "Where ImageNet weights are looked for and kept, in hub/checkpoints; else ~/.cache/torch.",
    "TMPDIR": "Where an artifact that comes from or goes to a pipe is kept meanwhile.",
}

STATUS = {
    "0": "Done.",
    "1": "Wrong data, a file that cannot be used, or an error at run time: one line on standard error says which.",
    "2": "The command line is wrong.",
    "3": "Done, but some images could not be read, or ids to be removed are not there; they are named on standard "
    "error. For images --on-error skip makes it 0.",
    "130, 143": "Interrupted or terminated.",
    "141": "The reader of standard output went away.",
}

FILES = {
    "./model.h5": "Model, where neither -m nor $CBIR_MODEL names one.",
    "~/.config/cbir/key": (
        "Key of the pseudonyms, readable by its owner only. Keep it: nothing else ties two runs' patients together."
    ),
    "OUTPUT.partial/": "Rows of an unfinished run; --resume goes on from them. Gone when the artifact is whole.",
    "OUTPUT.checkpoint": "Training run after its last epoch; --resume goes on from it. Gone when the model is whole.",
}


def documents() -> dict[Path, str]:
    """Return the text of every generated file by its path."""
    pages = {"cbir": _top_page()} | {f"cbir-{name}": _page(name, context) for name, context in contexts().items()}
    made = {ROOT / "man" / "man1" / f"{name}.1": text for name, text in pages.items()}
    made[ROOT / "docs" / "artifacts.md"] = _below_mark("docs/artifacts.md", _artifacts())
    made[ROOT / "docs" / "methods.md"] = _below_mark("docs/methods.md", _methods())
    return made


def contexts() -> dict[str, Any]:
    """Return the context of each of Typer's commands, in the order of the command table."""
    group: Any = typer.main.get_command(tree.whole())
    above = group.make_context("cbir", ["help"], resilient_parsing=True)
    return {
        name: group.commands[name].make_context(name, [], parent=above, resilient_parsing=True) for name in COMMANDS
    }


# --- roff -------------------------------------------------------------------------------------------------------------

_ROFF = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq"}
_LITERAL = re.compile(r"``(.+?)``|(\$[A-Z][A-Z_]+|(?<![\w/.-])--?[a-zA-Z0-9][\w-]*)")


def roff(text: str) -> str:
    """Escape text: every character stands for itself, and no line can be taken for a request."""
    out = "".join(_ROFF.get(c, c if c.isascii() else f"\\[u{ord(c):04X}]") for c in text)
    return re.sub(r"^([.])", r"\\&\1", out, flags=re.M)


def prose(text: str) -> str:
    """Escape a paragraph, with literal text, options and environment variables in bold."""
    text = " ".join(text.split())
    out, at = [], 0
    for found in _LITERAL.finditer(text):
        out += [roff(text[at : found.start()]), r"\fB", roff(found[1] or found[2]), r"\fR"]
        at = found.end()
    return re.sub(r"^\.", r"\\&.", "".join([*out, roff(text[at:])]))


def _section(title: str, *parts: str) -> str:
    return "\n".join([f".SH {title}", *parts]) + "\n"


def _list(pairs: Iterable[tuple[str, str]]) -> str:
    """Return a list of terms, roff already, and their text."""
    return "\n".join(f".TP\n{term}\n{text}" for term, text in pairs)


def _bold(text: str) -> str:
    return rf"\fB{roff(text)}\fR"


def markup(text: str) -> Iterator[str]:
    """Yield the roff of hand-written text (see the module's docstring), without ``@NAME@`` parts."""
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        lines = block.splitlines()
        if block.startswith("# "):
            yield f".SH {roff(block[2:])}"
        elif all(line.startswith("    ") for line in lines):
            yield "\n".join([".PP", ".EX", *(roff(line) for line in lines), ".EE"])
        elif " :: " in lines[0]:
            term, _, rest = block.partition(" :: ")
            yield f".TP\n{_bold(term.strip('`'))}\n{prose(rest)}"
        else:
            yield f".PP\n{prose(block)}"


def _header(name: str, what: str) -> str:
    title = f'.TH {roff(name.upper())} 1 {roff(DATE)} cbir "cbir manual"'
    head = f'.\\" Written by man/generate.py: change what it reads, not this file.\n{title}\n'
    return head + _section("NAME", rf"{roff(name)} \- {roff(what)}")


_FOOTER = _section("NOTES", "Research use only. Not for diagnosis.")


# --- pages ------------------------------------------------------------------------------------------------------------


def _page(name: str, context: Any) -> str:
    """Return the man page of one command."""
    command = context.command
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"] + [command.get_help_option(context)]
    facts = _facts(arguments + options, command.help)
    examples = (ROOT / "man" / "examples" / f"{name}.txt").read_text("utf-8")
    usage = [rf"\fBcbir {roff(name)}\fR", r"[\fIOPTIONS\fR]", *(_argument(p, optional=True) for p in arguments)]
    parts = [
        _header(f"cbir-{name}", COMMANDS[name]),
        _section("SYNOPSIS", " ".join(usage)),
        _section("DESCRIPTION", *(f".PP\n{prose(p)}" for p in inspect.cleandoc(command.help).split("\n\n"))),
        _section("ARGUMENTS", _list((_argument(p), prose(p.help)) for p in arguments)),
        _section("OPTIONS", _list((_spelling(p, context), prose(_said(p))) for p in options)),
        *(_choice(folder) for folder in CHOICES.get(name, ())),
        _task_values() if name == "train" else "",
        _section("EXAMPLES", *markup(examples)),
        _section(
            "EXIT STATUS", _list((_bold(k), prose(v)) for k, v in STATUS.items() if k != "3" or "on_error" in facts)
        ),
        _section("ENVIRONMENT", _list((_bold(k), prose(v)) for k, v in ENVIRONMENT.items() if k in facts)),
        _section("FILES", _list((_bold(k), prose(v)) for k, v in FILES.items() if k in facts))
        if facts & {*FILES}
        else "",
        _section("SEE ALSO", _see(re.findall(r"\bcbir ([a-z-]+)", examples), name)),
        _FOOTER,
    ]
    return "".join(parts)


def _facts(params: Sequence[Any], text: str) -> set[str]:
    """Return the names of a command's parameters, and the environment variables and files that go with them."""
    names = {p.name for p in params}
    words = " ".join([text, *(p.help for p in params)])
    facts = names | {"CBIR_DEBUG"} | {v for v in ("CBIR_DATA", "CBIR_MODEL") if f"${v}" in words}
    if "keep_ids" in names:
        facts |= {"CBIR_KEY", "~/.config/cbir/key"}
    if "on_error" in names:
        facts |= {"CBIR_TIMEOUT"}
    if names & {"workers", "threads"}:
        facts |= {"SLURM_CPUS_PER_TASK"}
    if "./model.h5" in words:
        facts |= {"./model.h5"}
    if "for a pipe" in words or "output" in names:
        facts |= {"TMPDIR"}
    if "format" in names and "on a terminal" in words:
        facts |= {"NO_COLOR"}
    if re.search(r"\bimagenet\b", words):
        facts |= {"TORCH_HOME"}
    if "resume" in names:
        facts |= {"OUTPUT.partial/" if "shard" in names else "OUTPUT.checkpoint"}
    return facts


def _argument(param: Any, *, optional: bool = False) -> str:
    name = param.metavar or param.name.upper()
    return rf"[\fI{roff(name)}\fR]" if optional and not param.required else rf"\fI{roff(name)}\fR"


def _spelling(param: Any, context: Any) -> str:
    """Return an option's names and the word for its value: as in ``--help``, but for the words of Typer's types."""
    names = ", ".join(_bold(name) for name in sorted((*param.opts, *param.secondary_opts), key=len))
    shown = re.sub(r"^(?:--?\w[\w-]*(?:, | / |\s*$)?)+", "", param.get_help_record(context)[0]).strip()
    if found := re.fullmatch(r"<(.+)>", shown):
        kind = found[1]
        if "|" in kind:
            return rf"{names} {_bold(kind).replace('|', chr(92) + 'fR|' + chr(92) + 'fB')}"
        shown = "N" if kind.startswith("int") else "X" if kind.startswith("float") else param.name.upper()
    return rf"{names} \fI{roff(shown)}\fR" if shown else names


def _said(param: Any) -> str:
    """Return an option's help with its range and default."""
    text = param.help.rstrip(".") + "."
    low, high = getattr(param, "min", None), getattr(param, "max", None)
    if high is not None:
        text += f" From {low} to {high}."
    elif low is not None and low > 0:
        text += f" At least {low}."
    default = getattr(param.default, "value", param.default)
    if default is not None and default is not False and default != "" and param.show_default:
        text += f" Default: ``{default}``."
    return text


def _choice(folder: str) -> str:
    """Return the section on the methods that a command chooses from."""
    parts = []
    for method in methods(folder):
        parts.append(f".TP\n{_bold(method.name)}\n{prose(method.summary)}")
        if folder in SETTABLE and method.parameters:
            values = [(_bold(str(p)), prose(p.text)) for p in method.parameters]
            parts.append(f".RS\n.PP\nParameters, for {_bold('--set')}:\n{_list(values)}\n.RE")
    return _section(roff(FOLDERS[folder].upper()), *parts)


def _task_values() -> str:
    """Return the section on tasks and on the values that ``--set`` reaches."""
    known = {name: tasks.load(name) for name in tasks.names()}
    settings = {name: task.settings() for name, task in known.items()}
    words = _described(inspect.getdoc(tasks.Task) or "") | _described(inspect.getdoc(Recipe) or "") | _words()
    values = []
    for key in next(iter(settings.values())):
        shown = {name: _toml(values[key]) for name, values in settings.items()}
        same = len(set(shown.values())) == 1
        each = next(iter(shown.values())) if same else "; ".join(f"{value} ({name})" for name, value in shown.items())
        values.append((_bold(key), prose(f"{words[key]} Value: {each}.")))
    titles = [(_bold(name), prose(f"{task.title}.")) for name, task in known.items()]
    return _section("TASKS", _list(titles), f".PP\nValues of a task, for {_bold('--set')}:", _list(values))


def _words() -> dict[str, str]:
    """Return what the docstrings of tasks and recipes say of several values at once, or in the code's own terms."""
    return {
        "uncertain": "Images whose label is uncertain: drop, positive or negative.",
        "blank": "Images that do not state the label: drop or negative.",
        "objective": f"Loss: {', '.join(registry.names('objectives'))}.",
        "architecture": f"Network: {', '.join(registry.listed('models'))}.",
        "epochs": "Times that every image is shown; with 0 the initial weights stay as they are.",
        "batch_size": "Images a step, 2 or more.",
        "optimizer": f"Optimiser: {', '.join(OPTIMIZERS)}. Another one needs a learning rate of its own.",
        "lr": "Learning rate.",
        "rho": "Adadelta's decay.",
        "betas": "Adam's two decays.",
        "eps": "Keeps the optimiser from dividing by zero.",
        "class_weights": "balanced (both classes weigh the same in sum) or none.",
        "rotation": "Largest random rotation in degrees; 0 for none.",
        "shift": "Largest random shift as a fraction of the side; 0 for none.",
    }


def _toml(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _see(names: Iterable[str], but: str) -> str:
    """Return references to the pages of some commands, and to the top page."""
    found = [c for c in COMMANDS if c in set(names) - {but}]
    return ",\n".join(rf"\fB{roff(page)}\fR(1)" for page in ("cbir", *(f"cbir-{c}" for c in found)))


def _top_page() -> str:
    """Return the page of ``cbir`` itself."""
    generated = {
        "COMMANDS": _list(
            (rf"\fBcbir\-{roff(name)}\fR(1)", prose(f"{what[0].upper()}{what[1:]}.")) for name, what in COMMANDS.items()
        ),
        "STATUS": _list((_bold(k), prose(v)) for k, v in STATUS.items()),
        "ENVIRONMENT": _list((_bold(k), prose(v)) for k, v in ENVIRONMENT.items()),
        "FILES": _list((_bold(k), prose(v)) for k, v in FILES.items()),
        "SEE": _see(COMMANDS, "").partition(",\n")[2],
    }
    parts = []
    for part in re.split(r"^@([A-Z]+)@$", (ROOT / "man" / "cbir.txt").read_text("utf-8"), flags=re.M):
        parts += [generated[part]] if part in generated else markup(part) if part.strip() else []
    return "\n".join([_header("cbir", WHAT).rstrip("\n"), *parts]) + "\n" + _FOOTER


# --- methods ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parameter:
    """A keyword-only argument of a method: name, default as ``--set`` takes it (empty for None), and what it means."""

    name: str
    default: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}={self.default}" if self.default else self.name


@dataclass(frozen=True)
class Method:
    """One module of a method folder: name, first line of its docstring, and parameters with a default."""

    name: str
    summary: str
    parameters: list[Parameter]
    constants: dict[str, Any]


def methods(folder: str) -> list[Method]:
    """Return the methods of a folder, from their source text."""
    found = []
    for name in registry.listed(folder):
        stem, _, member = registry.module_name(name).partition(".")
        source = ast.parse((PACKAGE / folder / f"{stem}.py").read_text("utf-8"))
        functions = {node.name: node for node in source.body if isinstance(node, ast.FunctionDef)}
        if member == "*":  # a family that lists its members is described as one
            member, function = "", functions["member"]
        else:
            # A metric may share its functions, which take no parameters then, with others.
            function = functions.get(member or registry.FUNCTIONS[folder], ast.parse("def shared(): ...").body[0])
        whole, own = ast.get_docstring(source) or "", ast.get_docstring(function) or ""
        words = _described(whole) | _described(own)  # what the members of a family share is said once, in the module
        pairs = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
        parameters = [Parameter(a.arg, _default(d), words.get(a.arg, "")) for a, d in pairs if d is not None]
        constants = {
            node.targets[0].id: ast.literal_eval(node.value)
            for node in source.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and _is_literal(node.value)
        }
        summary = (own if member else whole).splitlines()[0]
        if other := constants.get("ALIASES"):
            summary += f" Also: {', '.join(f'``{alias}``' for alias in other)}."
        found.append(Method(name, summary, parameters, constants))
    return found


def _default(node: ast.expr) -> str:
    value = ast.literal_eval(node)
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    return _toml(value) if isinstance(value, str | tuple) else ast.unparse(node)


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True


def _described(doc: str) -> dict[str, str]:
    """Return what a numpydoc docstring says of each parameter or attribute, in one line."""
    found: dict[str, str] = {}
    for section in re.split(r"^(?=\w+\n-{3,}$)", doc, flags=re.M):
        if re.match(r"(Parameters|Attributes)\n", section):
            for entry in re.split(r"^(?=\S)", section.split("\n", 2)[2], flags=re.M):
                head, _, body = entry.partition("\n")
                for name in head.partition(" : ")[0].split(", "):
                    found[name] = " ".join(body.split())
    return found


def _methods() -> str:
    """Return the list of all methods as Markdown."""
    parts = []
    for folder, title in FOLDERS.items():
        column = " licence |" if folder == "data" else " `--set`, with defaults |" if folder in SETTABLE else ""
        rows = [f"| name | what |{column}", f"| --- | --- |{' --- |' if column else ''}"]
        for method in methods(folder):
            last = method.constants.get("LICENSE", "") if folder == "data" else ""
            if folder in SETTABLE:
                last = ", ".join(f"`{p}`" for p in method.parameters)
            rows.append(f"| `{method.name}` | {_inline(method.summary)} |{f' {last} |' if column else ''}")
        parts.append(f"## {title}\n\nFolder `cbir_cli/{folder}/`.\n\n" + "\n".join(rows) + "\n")
    rows = ["| name | what | network | labels |", "| --- | --- | --- | --- |"]
    for path in sorted((PACKAGE / "tasks").glob("*.toml")):
        task = tomllib.loads(path.read_text("utf-8"))
        labels = ", ".join(task.get("labels") or task.get("outputs") or [task["label_set"]])
        rows.append(f"| `{path.stem}` | {task['title']} | `{task['architecture']}` | {labels} |")
    parts.append("## Tasks\n\nFolder `cbir_cli/tasks/`.\n\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


# --- schemas ----------------------------------------------------------------------------------------------------------

SCHEMAS = {
    "Artifacts": ("files", "_payload", "model", "saliency", "embeddings", "virtual", "index", "explanation"),
    "What several artifacts share": ("items", "pseudonyms", "history"),
    "Text tables": ("run", "split", "ranks", "ratings", "qrels"),
    "Unfinished work": ("partial",),
}


def _artifacts() -> str:
    """Return the schemas as Markdown, from the docstrings of ``artifacts/``."""
    parts = []
    for title, names in SCHEMAS.items():
        parts.append(f"## {title}\n")
        for name in names:
            path = PACKAGE / "artifacts" / f"{name}.py"
            doc = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
            first, _, rest = doc.partition("\n\n")
            first = " ".join(first.split())
            parts.append(f"### {_inline(first)}\n\n`cbir_cli/artifacts/{name}.py`\n")
            parts += [f"{block}\n" for block in markdown(rest)]
    return "\n".join(parts)


def markdown(doc: str) -> Iterator[str]:
    """Yield the blocks of a docstring's reStructuredText as Markdown: titles, tables, definition lists, paragraphs."""
    for block in re.split(r"\n\s*\n", doc.strip()):
        lines = block.splitlines()
        if len(lines) > 1 and re.fullmatch(r"-{3,}", lines[1]):
            yield f"#### {lines[0]}"
            block = "\n".join(lines[2:])
            lines = block.splitlines()
        if not lines:
            continue
        if re.fullmatch(r"=+(?: +=+)+", lines[0]):
            yield _table(lines)
        elif any(line.startswith("    ") for line in lines):
            yield _definitions(lines)
        else:
            yield _inline(block)


def _inline(text: str) -> str:
    return text.replace("``", "`")


def _table(lines: Sequence[str]) -> str:
    starts = [found.start() for found in re.finditer("=+", lines[0])]
    cut = [slice(a, b) for a, b in zip(starts, [*starts[1:], None], strict=True)]
    rows = [[_inline(line[c].strip()) for c in cut] for line in lines if not line.startswith("==")]
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|" + " --- |" * len(cut), *body])


def _definitions(lines: Sequence[str]) -> str:
    items: list[list[str]] = []
    for line in lines:
        if line.startswith(" ") and items:
            items[-1].append(line.strip())
        else:
            items.append([line])
    return "\n".join(f"- {_inline(term)}{': ' if text else ''}{_inline(' '.join(text))}" for term, *text in items)


def _below_mark(name: str, text: str) -> str:
    """Return a document with its hand-written head and new generated text."""
    path = ROOT / name
    head, mark, _ = path.read_text("utf-8").partition(MARK)
    if not mark:
        raise SystemExit(f"{path}: lacks the line {MARK.strip()}")
    return f"{head}{MARK}\n{text.rstrip()}\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check all generated files; return the exit status."""
    parser = argparse.ArgumentParser(description="Write the man pages and the generated documents.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a file is out of date")
    check = parser.parse_args(argv).check
    made = documents()
    differing = [path for path, text in made.items() if not path.is_file() or path.read_text("utf-8") != text]
    stale = sorted({*(ROOT / "man" / "man1").glob("*")} - {*made})
    if check:
        for path in (*differing, *stale):
            print(f"{path.relative_to(ROOT)}: out of date; run make man", file=sys.stderr)
        return 1 if differing or stale else 0
    for path in differing:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made[path], "utf-8")
        print(path.relative_to(ROOT))
    for path in stale:
        path.unlink()
        print(f"{path.relative_to(ROOT)}: removed")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
