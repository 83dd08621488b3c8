"""What docs/cli.md says of the command line, held against it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from ocistate.cli.common.exits import EXIT_CODES, INTERRUPTED
from ocistate.cli.main import cli
from tests.support.environments.command_line import Site

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs" / "cli.md").read_text()


def section(title: str) -> str:
    return DOCUMENT.partition(f"## {title}\n")[2].partition("\n## ")[0]


def verbs(group: click.Group, before: str = "") -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from verbs(command, f"{before}{name} ")
        else:
            yield before + name


def alternatives(text: str) -> Iterator[str]:
    """``channel hold|release REPO`` names two verbs."""
    words = text.replace("\\|", "|").split()
    two = len(words) > 1 and re.fullmatch(r"[a-z|-]+", words[1])
    if two and any(f"{words[0]} {last}" in VERBS for last in words[1].split("|")):
        yield from (f"{words[0]} {last}" for last in words[1].split("|"))
    else:
        yield words[0]


VERBS = frozenset(verbs(cli))


def test_every_verb_is_in_the_table_and_no_other() -> None:
    rows = re.findall(r"^\| (`[^\n]*?`) \| ", DOCUMENT, re.MULTILINE)
    named = {
        verb
        for row in rows
        for text in re.findall(r"`([^`]+)`", row)
        for verb in alternatives(text)
    }
    assert named - VERBS == set()
    assert VERBS - named == {"completion"}, "it is told of above the table"


def test_every_exit_code_is_in_the_table() -> None:
    codes = {int(number) for number in re.findall(r"\b\d+\b", section("Exit codes"))}
    assert set(EXIT_CODES.values()) | {0, INTERRUPTED} == codes


def paragraph(verb: str) -> str:
    for text in re.split(r"\n\n|(?<=\.) (?=`)|(?<=\.)\n(?=`)", section("Output for programs")):
        head = text.partition(":")[0]
        if verb in {v for part in re.findall(r"`([^`]+)`", head) for v in alternatives(part)}:
            return text
    raise AssertionError(f"nothing is said of the output of {verb}")


RECORD = DOCUMENT.partition("A record's fields:")[2].partition(".\n")[0]


def outputs(site: Site) -> Iterator[tuple[str, Any]]:
    """What verbs print as JSON, in the order of a release's life."""
    key, channel_key = (str(site.root / f"{name}.key") for name in ("art", "chan"))
    first, mirror = f"{site.store}:v1", f"layout:{site.root}/mirror"
    moved = ("--key", channel_key, "--expires", "7d", *site.trust)
    statement = site.root / "statement.json"
    statement.write_text('{"passed": true}')

    def run(verb: str, *args: str) -> tuple[str, Any]:
        return verb, json.loads(site(*verb.split(), "-o", "json", *args))

    yield run("pack", str(site.root / "app.yaml"), f"{mirror}:x", "--allow-secrets")
    yield run("push", str(site.root / "app.yaml"), f"{site.store}:v4", "--allow-secrets")
    yield run("sign", first, "--key", key)
    yield run("attest", first, "--key", key, "--type", "https://x/y", "--predicate", str(statement))
    yield run("verify", first, *site.trust)
    yield run("inspect", first, *site.trust)
    yield run("tag", first, "again")
    yield run("ls", site.store)
    yield run("diff", site.store, ":v1", ":v2")
    yield run("channel init", first, "test", *moved)
    yield run("promote", site.store, "--tag", "v2", "--to", "prod", "--yes", *moved)
    yield run("promote", site.store, "--tag", "v3", "--to", "prod", "--yes", *moved)
    yield run("rollback", site.store, "prod", "--yes", *moved)
    for verb in ("hold", "refresh", "release"):
        yield run(f"channel {verb}", site.store, "prod", *moved)
    for verb in ("channel show", "channel verify"):
        yield run(verb, site.store, "prod", *site.trust)
    yield run("channel list", site.store, *site.trust)
    yield run("history", site.store, "prod", "--git", *site.trust)
    resource = ("--resource", "ConfigMap/app")
    yield run("log", site.store, "prod", "-p", *resource, *site.trust)
    yield run("blame", site.store, "prod", *resource, *site.trust)
    yield run("bisect", site.store, "prod", "--good", "1", *site.trust, "--bad", "3", "--", "false")
    yield run("query", site.store, "--kind", "ConfigMap", *site.trust)
    approve = ("--channel", "prod", "--reason", "tested", "--key", key)
    yield run("approve", first, *approve, *site.trust)
    yield run("copy", site.store, mirror, "--all-tags")
    yield run("gc", mirror, "--keep", "1", "--dry-run")


@pytest.mark.usefixtures("begun")
def test_every_field_that_is_printed_is_documented(site: Site) -> None:
    seen = set()
    for verb, value in outputs(site):
        text = paragraph(verb)
        known = set(re.findall(r"`(\w+)`", text + (RECORD if "record's fields" in text else "")))
        rows = value if isinstance(value, list) else [value]
        assert rows, verb
        fields = {key for row in rows for key in row}
        if "as `log` has them" in text:
            known |= set(re.findall(r"`(\w+)`", paragraph("log")))
        assert fields - known == set(), f"{verb}: docs/cli.md says nothing of these"
        seen.add(verb)
    assert len(seen) == 26


def test_help_imports_little() -> None:
    script = (
        "import sys\n"
        "from ocistate.cli.main import main\n"
        "main(['--help'])\n"
        "heavy = {'asyncio', 'hashlib', 'yaml', 'dataclasses', 'ssl', 'ocistate.objects'}\n"
        "print('imported:', sorted(heavy & set(sys.modules)))\n"
    )
    output = subprocess.check_output([sys.executable, "-c", script], text=True)
    assert output.splitlines()[-1] == "imported: []"
