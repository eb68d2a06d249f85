"""The documents are true: pages match the commands, command lines parse, lists are whole, links lead somewhere."""

import importlib
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cbir_cli import registry, tasks
from cbir_cli.cli.main import COMMANDS, main
from cbir_cli.stages import encoders, fusion, measuring, split

ROOT = Path(__file__).parent.parent
PROSE = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "DESIGN.md", "CHANGELOG.md")]
PROSE += sorted((ROOT / "docs").glob("*.md"))
PLAIN = [ROOT / "man" / "cbir.txt", *sorted((ROOT / "man" / "examples").glob("*.txt"))]


SPEC = importlib.util.spec_from_file_location("generate_documents", ROOT / "man" / "generate.py")
generate = sys.modules[SPEC.name] = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(generate)
CONTEXTS = generate.contexts()
DOCUMENTS = generate.documents()


def page(command):
    return ROOT / "man" / "man1" / f"cbir-{command}.1"


def plain(roff):
    """Undo the escapes of a page's text: fonts, and characters by name."""
    names = {r"\(aq": "'", r"\(ga": "`", r"\(ha": "^", r"\(ti": "~", r"\(dq": '"', r"\-": "-", r"\e": "\\", r"\&": ""}
    text = re.sub(r"\\f[BIR]", "", roff)
    return re.sub(r"\\(?:\(..|[-e&])", lambda found: names[found[0]], text)


# --- drift ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_generated_file_is_up_to_date(path):
    assert path.read_text("utf-8") == DOCUMENTS[path], "run make man"


def test_there_is_one_page_for_each_command_and_no_other():
    pages = {path.name for path in (ROOT / "man" / "man1").iterdir()}
    assert pages == {"cbir.1", *(f"cbir-{name}.1" for name in COMMANDS)}
    assert {path.stem for path in (ROOT / "man" / "examples").iterdir()} == set(COMMANDS)


def test_check_names_what_is_out_of_date_and_changes_nothing(monkeypatch, tmp_path, capsys):
    assert generate.main(["--check"]) == 0
    old = tmp_path / "docs" / "old.md"
    old.parent.mkdir()
    old.write_text("old")
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "documents", lambda: {old: "new", tmp_path / "docs" / "none.md": "new"})
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"docs/{name}.md: out of date; run make man" for name in ("old", "none")
    ]
    assert old.read_text() == "old" and not (tmp_path / "docs" / "none.md").exists()
    assert generate.main([]) == 0
    assert old.read_text() == (tmp_path / "docs" / "none.md").read_text() == "new"


# --- pages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_the_help_is_in_the_page(command, capsys):
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    options = set(re.findall(r"(?<![\w-])--?[a-zA-Z0-9][\w-]*", shown.partition("\nOptions:\n")[2]))
    assert {"--help", "-h", "-q", "--debug"} <= options
    tags = plain("\n".join(re.findall(r"^\.TP\n(.*)$", page(command).read_text(), flags=re.M)))
    missing = {option for option in options if not re.search(rf"(?<![\w-]){option}(?![\w-])", tags)}
    # Those that are only spoken of, such as find's -print0, are in the text.
    assert all(option in plain(page(command).read_text()) for option in missing)
    declared = {name for p in CONTEXTS[command].command.params for name in p.opts if p.param_type_name == "option"}
    assert not declared & missing


@pytest.mark.parametrize("command", COMMANDS)
def test_page_has_all_its_sections(command):
    text = page(command).read_text()
    sections = re.findall(r"^\.SH (.*)$", text, flags=re.M)
    wanted = "NAME SYNOPSIS DESCRIPTION ARGUMENTS OPTIONS EXAMPLES EXIT\\ STATUS ENVIRONMENT SEE\\ ALSO NOTES"
    assert [s for s in sections if s in shlex.split(wanted)] == shlex.split(wanted)
    assert f"cbir\\-{command.replace('-', chr(92) + '-')} \\- {COMMANDS[command].replace('-', chr(92) + '-')}" in text
    assert "Research use only. Not for diagnosis." in text
    assert len(re.findall(rf"\$ .*\bcbir {command}\b", plain(text))) >= 1


@pytest.mark.parametrize("command", COMMANDS)
def test_page_tells_defaults_choices_and_ranges(command):
    text = plain(page(command).read_text())
    for param in CONTEXTS[command].command.params:
        value = getattr(param.default, "value", param.default)
        if value not in (None, "") and value is not False and param.show_default:
            assert f"Default: {value}." in text, param.name
        if hasattr(param.default, "value"):
            assert "|".join(member.value for member in type(param.default)) in text, param.name
    for folder in generate.CHOICES.get(command, ()):
        for name in registry.names(folder):
            assert f".TP\n{name}\n" in text


@pytest.mark.parametrize("path", sorted((ROOT / "man" / "man1").iterdir()), ids=lambda path: path.name)
def test_man_finds_nothing_to_warn_of(path):
    if shutil.which("man") is None:
        pytest.skip("man is not installed")
    command = ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(path)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
    assert done.stderr == b""


NASTY = (".TH at the start", "'br and 'quotes'", r"a \fBbackslash\n", '-o, --output - `x` ^ ~ "y" $ % # é', "...")


def test_every_character_stands_for_itself(tmp_path):
    if shutil.which("man") is None:
        pytest.skip("man is not installed")
    path = tmp_path / "x.1"
    body = "\n.br\n".join(map(generate.roff, NASTY))
    path.write_text(f'.TH X 1 2000\\-01\\-01 x "x"\n.SH X\n{body}\n', "ascii")
    command = ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-P", "cat", str(path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    )
    lines = [line.strip() for line in done.stdout.splitlines()]
    start = lines.index(NASTY[0])
    assert done.stderr == "" and lines[start : start + len(NASTY)] == list(NASTY)


def test_markup():
    text = "# A-B\n\nplain --opt and ``code``\nmore\n\nterm :: what\nit is\n\n    $ x \\\n\n``-`` :: y\n"
    assert list(generate.markup(text)) == [
        ".SH A\\-B",
        ".PP\nplain \\fB\\-\\-opt\\fR and \\fBcode\\fR more",
        ".TP\n\\fBterm\\fR\nwhat it is",
        ".PP\n.EX\n    $ x \\e\n.EE",
        ".TP\n\\fB\\-\\fR\ny",
    ]


# --- lists of methods and schemas -------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", generate.FOLDERS)
def test_list_of_methods_has_every_method_with_its_first_line(folder):
    text = (ROOT / "docs" / "methods.md").read_text()
    for name in registry.listed(folder):
        stem, _, member = name.partition(".")
        whole = importlib.import_module(f"cbir_cli.{folder}.{stem}") if member == "*" else registry.load(folder, name)
        first = whole.__doc__.splitlines()[0]
        also = [alias for alias, method in registry.aliases(folder).items() if method == name]
        first += f" Also: {', '.join(f'`{alias}`' for alias in also)}." if also else ""
        assert f"| `{name}` | {first.replace('``', '`')} |" in text


def test_list_of_methods_has_every_task():
    text = (ROOT / "docs" / "methods.md").read_text()
    assert all(f"| `{name}` | {tasks.load(name).title} |" in text for name in tasks.names())


def same_parameters(found, function):
    real = registry.parameters(function)
    assert {p.name for p in found} == set(real)
    given = registry.settings([str(p) for p in found if p.default], real, "it")
    assert given == {name: value for name, value in real.items() if value not in (None, "")}
    assert all(p.text for p in found), "a parameter is not described"


@pytest.mark.parametrize("folder", ["saliency", "similarity", "index"])
def test_parameters_that_are_read_as_text_are_those_of_the_function(folder):
    for method in generate.methods(folder):
        same_parameters(method.parameters, getattr(registry.load(folder, method.name), registry.FUNCTIONS[folder]))


def test_parameters_of_every_kind_are_read_as_text(tmp_path, monkeypatch):
    source = tmp_path / "saliency" / "my_way.py"
    source.parent.mkdir()
    source.write_text('''"""My way.\n\nMore."""
KIND = "x"
def explain(model, *, generator, word="a b", share=0.5, whole=3, flag=True, pair=(0.1, 2.0), free=None):
    """Maps.

    Parameters
    ----------
    model : callable
        Not set.
    word, share : str
        Both
        lines.
    whole, flag, pair, free : int
        Others.

    Returns
    -------
    nothing : None
        No.
    """
''')
    monkeypatch.setattr(generate, "PACKAGE", tmp_path)
    monkeypatch.setattr(registry, "listed", lambda folder: ["my-way"])
    (method,) = generate.methods("saliency")
    space = {}
    exec(source.read_text(), space)
    same_parameters(method.parameters, space["explain"])
    assert (method.name, method.summary, method.constants) == ("my-way", "My way.", {"KIND": "x"})
    assert [p.text for p in method.parameters] == ["Both lines."] * 2 + ["Others."] * 4


def test_schemas_have_every_artifact_module():
    text = (ROOT / "docs" / "artifacts.md").read_text()
    modules = {p.stem for p in (ROOT / "cbir_cli" / "artifacts").glob("[a-z]*.py")}
    assert modules <= {name for names in generate.SCHEMAS.values() for name in names}
    from cbir_cli.artifacts import files

    assert all(f"`{kind}`" in text for kind in files.KINDS)
    assert "``" not in text.replace("```", "")


def test_markdown_of_a_docstring():
    doc = """\
Schema
------
``a`` (N,) int
    Text with ``x``,
    on two lines.
``b``
``c``
    End.

=====  ====
one    two
=====  ====
``y``  z
=====  ====

Words.
"""
    assert list(generate.markdown(doc)) == [
        "#### Schema",
        "- `a` (N,) int: Text with `x`, on two lines.\n- `b`\n- `c`: End.",
        "| one | two |\n| --- | --- |\n| `y` | z |",
        "Words.",
    ]


# --- command lines ----------------------------------------------------------------------------------------------------


def code(path):
    """Return the command lines of a document: what stands in code after ``$``, or in a shell block."""
    text = path.read_text("utf-8")
    if path.suffix == ".md":
        text = "\n".join(re.findall(r"^ *```(?:sh|bash|shell|console)\n(.*?)^ *```", text, flags=re.M | re.S))
    return re.sub(r"\\\n *", " ", text)


def command_lines(path):
    """Return the arguments of every call of cbir in a document, those in pipes included."""
    for line in code(path).splitlines():
        line = line.strip()
        if not line.startswith("$ " if path.suffix == ".txt" else ("$ ", "cbir ")) and "| cbir " not in line:
            continue
        lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars="|;&<>")
        lexer.wordchars += "$@%:,+[]?^{}!"
        lexer.whitespace_split = False
        call = []
        for word in [*lexer, ";"]:
            if set(word) <= set("|;&<>"):
                if call and call[0] == "cbir":
                    yield call[1:]
                call = ["to"] if set(word) & set("<>") else []
            else:
                call.append(word)


LINES = [(path, line) for path in (*PLAIN, *PROSE) if path.exists() for line in command_lines(path)]


def test_command_lines_are_found():
    found = {path.name for path, _ in LINES}
    assert {p.name for p in PLAIN} <= found
    assert {line[0] for _, line in LINES} >= set(COMMANDS)


@pytest.mark.parametrize(("path", "line"), LINES, ids=lambda v: v.name if isinstance(v, Path) else " ".join(v))
def test_command_line_parses(path, line):
    command, *arguments = line
    if command.startswith("-"):
        assert command in ("--help", "--version", "--show-completion")
        return
    if command == "help" or command == "COMMAND":
        return
    assert command in COMMANDS
    context = CONTEXTS[command].command.make_context(command, arguments)
    values = context.params
    chosen_from = [("method", "saliency"), ("method", "similarity"), ("kind", "index"), ("kind", "phantom")]
    for key, folder in (*chosen_from, ("fuse", "fusion")):
        if folder in generate.CHOICES.get(command, ()) and values.get(key) not in (None, "none"):
            engines = registry.names("stores") if (key, command) == ("kind", "index") else []
            assert registry.canonical(values[key]) in [*registry.names(folder), *engines]
    known = {
        "saliency": ["input", "fit_images"],
        "embed": encoders.known_settings("imagenet"),
        "query": ["compat", "pool", "alpha", "beta", "gamma", *fusion.defaults("rrf", 2)],
        "explain": [f"measure.{name}" for name in registry.parameters(measuring.plan)],
        "split": split.SELECTION,
    }.get(command, [])
    if command in ("train", "finetune-ig"):
        known = tasks.load(values.get("task") or "pleural").settings()
    elif command == "evaluate":
        known = ["sign", "tolerance", "uncertain", "blank", "labels"]
    elif values.get("settings") and command in generate.CHOICES:
        (folder,) = generate.CHOICES[command]
        name = (
            values.get("method") or values.get("kind") or values.get("fuse") or ("rrf" if command == "query" else "ig")
        )
        method = next(m for m in generate.methods(folder) if m.name == registry.canonical(name))
        known = [*known, *(parameter.name for parameter in method.parameters)]
    assert {pair.partition("=")[0] for pair in values.get("settings") or []} <= set(known)
    if values.get("metrics"):
        from cbir_cli import metric_names

        metric_names.parse_metrics(values["metrics"].split(","))


# --- prose ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [p for p in PROSE if p.exists()], ids=lambda path: path.name)
def test_links_lead_to_files_of_the_repository(path):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "DESIGN.md"])
def test_files_that_are_named_are_there(name):
    text = (ROOT / name).read_text("utf-8")
    places = "cbir_cli|tests|man|docs|examples|cli|stages|artifacts|data|models|saliency|similarity|index|metrics|tasks"
    targets = [t for t in re.findall(rf"`((?:{places})/[\w./-]+)`", text) if "NAME" not in t]
    assert targets
    for target in targets:
        assert (ROOT / target).exists() or (ROOT / "cbir_cli" / target).exists(), target


def test_changelog_starts_with_what_is_unreleased_and_knows_every_command():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.match(r"# Changelog\n\n.*?\n?## Unreleased\n", text, flags=re.S)
    unreleased = re.split(r"^## ", text, flags=re.M)[1]
    headings = set(re.findall(r"^### (.*)$", unreleased, flags=re.M))
    assert {f"cbir {name}" for name in COMMANDS} <= headings | set(re.findall(r"cbir [a-z-]+", " ".join(headings)))


def test_the_lines_of_code_that_the_walk_shows_are_there():
    shown = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "training.md").read_text("utf-8"), re.S)
    assert len(shown) >= 3
    code = "\n".join(path.read_text("utf-8") for path in (ROOT / "cbir_cli").rglob("*.py"))
    lines = {line.strip() for line in code.splitlines()}
    missing = [line for block in shown for line in block.splitlines() if line.strip() and line.strip() not in lines]
    assert not missing
