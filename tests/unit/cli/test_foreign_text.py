"""Escapes, newlines and bidi marks in every field that strangers write; every command is looked
at."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ocistate.agent.telemetry.log import JsonFormatter, TextFormatter
from ocistate.api.status import StackStatus
from ocistate.cli.main import main
from ocistate.oci.local.layout import LayoutStore
from ocistate.oci.model import Manifest, parse_manifest
from ocistate.reference import parse_reference

FORGED = "Signatures:   1 holds"
HOSTILE = f"a\x1b[2J\x9b31m\n{FORGED}\n\u202eb\u2066c\u2028d\r\x07e"

COMMANDS = [
    ("ls", "{repo}"),
    ("ls", "{repo}", "-o", "json"),
    ("inspect", "{repo}:v1"),
    ("inspect", "{repo}:v1", "-o", "json"),
    ("inspect", "{repo}:v1", "-o", "yaml"),
    ("diff", "{repo}:v0", "{repo}:v1"),
    ("query", "ConfigMap/app", "{repo}"),
    ("gc", "{repo}", "--keep", "1", "--dry-run"),
    ("copy", "{repo}:v1", "layout:{root}/other"),
    ("tag", "{repo}:v1", "v2"),
    ("history", "{repo}"),
    ("channel", "list", "{repo}"),
    ("verify", "{repo}:v1", "--key", "{root}/k.pub", "-v"),
    ("pull", "{repo}:v1", "{root}/out"),
]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An artifact, and one whose manifest has hostile text wherever its format has room for any."""
    monkeypatch.setenv("OCISTATE_PASSWORD", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    place = f"layout:{tmp_path}/store"
    (tmp_path / "app.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {v: '1'}\n"
    )
    assert main(["keygen", str(tmp_path / "k")]) == 0
    key = ["--sign", "--key", str(tmp_path / "k.key")]
    assert main(["push", str(tmp_path / "app.yaml"), f"{place}:v0", *key]) == 0

    async def plant() -> None:
        async with LayoutStore(parse_reference(place)) as store:
            known = await store.fetch_manifest("v0")
            assert isinstance(known, Manifest)
            value = json.loads(known.raw)
            annotations = value.setdefault("annotations", {})
            for name in ("source", "revision", "created", "title", "url", "version"):
                annotations[f"org.opencontainers.image.{name}"] = HOSTILE
            annotations[HOSTILE] = HOSTILE
            for layer in value["layers"]:
                layer["annotations"] = {"org.opencontainers.image.title": HOSTILE}
            raw = json.dumps(value).encode()
            await store.push_manifest(parse_manifest(raw, known.descriptor.media_type), "v1")

    asyncio.run(plant())
    return place


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_lets_a_stranger_write_a_line(
    command: tuple[str, ...], repository: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    main([word.format(repo=repository, root=tmp_path) for word in command])
    shown = capsys.readouterr()
    lines = [*shown.out.split("\n"), *shown.err.split("\n")]
    assert any(lines)
    assert not [line for line in lines if line.lstrip().startswith(FORGED)]
    assert all(c.isprintable() for line in lines for c in line)


def test_no_message_makes_a_line_of_the_log() -> None:
    record = logging.LogRecord("x", logging.WARNING, "", 1, "%s", (HOSTILE,), None)
    record.stack, record.reason = HOSTILE, HOSTILE
    for formatter in (TextFormatter(), JsonFormatter()):
        line = formatter.format(record)
        assert all(c.isprintable() for c in line)
    try:
        raise ValueError(HOSTILE)
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    lines = TextFormatter().format(record).split("\n")
    assert all(line.startswith("    ") for line in lines[1:])


def test_a_condition_is_one_harmless_line() -> None:
    status = StackStatus().with_condition(
        "Ready", "False", "Failed", HOSTILE, now=datetime.now(UTC), generation=1
    )
    (condition,) = status.conditions
    assert condition.message.isprintable()
    assert len(condition.message) <= 1024
