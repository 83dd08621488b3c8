"""Every command that the documentation shows is one that there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from ocistate.cli.common.exits import EXIT_CODES, INTERRUPTED
from ocistate.cli.main import cli
from tests.support.command import ROOT

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
CONTEXT = click.Context(cli)


def shown(text: str) -> list[str]:
    """Command lines in blocks, and in single backquotes where they have an option."""
    joined = re.sub(r"\\\n\s*", "", text)
    lines = re.findall(r"^(?: {4,}|\$ )?(?:\w+=\S+ )*(ocistate .+)$", joined, re.MULTILINE)
    return lines + re.findall(r"`(ocistate [^`]+)`", joined)


def words_of(line: str) -> list[str]:
    line = re.split(r"\s#\s|\s#$|[|>&;]", line.replace("…", ""))[0]
    try:
        return shlex.split(line)[1:]
    except ValueError:  # a quotation that ends on a later line
        return re.sub("['\"]", "", line).split()[1:]


def find(words: list[str]) -> tuple[click.Command, list[str]]:
    command: click.Command = cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(CONTEXT, words[0])
        assert found is not None, f"no verb {words[0]}"
        command, words = found, words[1:]
    return command, words


def options_of(command: click.Command) -> set[str]:
    found = {"-h", "--help", "--debug"}
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            found |= {*parameter.opts, *parameter.secondary_opts}
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_exist(page: Path) -> None:
    for line in shown(page.read_text()):
        words = words_of(line)
        if not words or not re.fullmatch(r"-{0,2}[a-z][a-z-]*", words[0]):
            continue  # VERB
        for verb in words[0].split("|"):
            command, rest = find([verb, *words[1:]])
            if "--" in rest:
                rest = rest[: rest.index("--")]
            for word in rest:
                if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word):
                    assert word.split("=")[0] in options_of(command), line


def test_the_table_of_verbs_is_complete() -> None:
    rows = re.findall(r"^\| (`.*?) \| ", (ROOT / "docs" / "cli.md").read_text(), re.MULTILINE)
    documented = set(re.findall(r"`([a-z-]+)", " ".join(rows)))
    assert set(cli.list_commands(CONTEXT)) - {"completion"} <= documented


def test_the_table_of_exit_codes_is_complete() -> None:
    text = (ROOT / "docs" / "cli.md").read_text().split("## Exit codes")[1]
    documented: set[int] = set()
    for first, last in re.findall(r"^\| (\d+)(?:\W(\d+))? \|", text, re.MULTILINE):
        documented |= set(range(int(first), int(last or first) + 1))
    assert documented == {0, 1, *EXIT_CODES.values(), INTERRUPTED}
