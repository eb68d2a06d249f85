"""The table of shared options names the commands that have each, and all that several have."""

import re
from collections import defaultdict

import typer

from cbir_cli.cli import options, tree
from cbir_cli.cli.main import COMMANDS


def test_the_table_is_true():
    real = defaultdict(set)
    for name, command in typer.main.get_command(tree.whole()).commands.items():
        for parameter in command.params:
            for spelling in parameter.opts if parameter.param_type_name == "option" else ():
                real[spelling].add(name)
    table = {}
    for spellings, commands in re.findall(r"^``(.+?)`` +(.+)$", options.__doc__, re.M):
        for spelling in spellings.split():
            table[spelling] = set(COMMANDS) if commands.startswith("all") else set(commands.split())
    assert {spelling: real[spelling] for spelling in table} == table
    shared = {spelling for spelling, commands in real.items() if len(commands) > 1}
    assert shared - set(table) <= {"--help", "--quiet", "--verbose", "--settings"}
