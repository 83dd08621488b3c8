"""Credential plugins, run for real as small scripts."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ocistate.errors import ConfigError
from ocistate.kube.exec_auth import Credential, ExecCredentials, ExecPlugin, parse_credential

V1 = "client.authentication.k8s.io/v1"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CREDENTIAL = {"apiVersion": V1, "kind": "ExecCredential", "status": {"token": "t0ken"}}

# Answers with what it was told, and counts how often it ran.
SCRIPT = """
import json, os, sys
count = sys.argv[1]
with open(count, "a") as runs:
    runs.write("x")
runs = os.path.getsize(count)
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
status = {"token": f"token-{runs}-{os.environ['WHO']}", "expirationTimestamp": sys.argv[2] or None}
print(json.dumps({"apiVersion": info["apiVersion"], "kind": "ExecCredential", "status": status}))
print(json.dumps(info), file=open(count + ".info", "w"))
"""


def plugin(tmp_path: Path, *args: str, script: str = SCRIPT, **parts: Any) -> ExecPlugin:
    file = tmp_path / "plugin.py"
    file.write_text(script)
    entry = {
        "apiVersion": V1,
        "command": sys.executable,
        "args": [str(file), *args],
        "env": [{"name": "WHO", "value": "me"}],
        **parts,
    }
    cluster = {"server": "https://k", "certificate-authority-data": "Q0E="}
    return ExecPlugin.read(entry, cluster, tmp_path)


def credentials(plugin: ExecPlugin, now: datetime = NOW, terminal: bool = False) -> ExecCredentials:
    return ExecCredentials(plugin, now=lambda: now, is_terminal=lambda: terminal)


def test_a_plugin_runs_once_while_its_credential_is_good(tmp_path: Path) -> None:
    later = (NOW + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    runs = tmp_path / "runs"

    async def scenario() -> list[Credential]:
        source = credentials(plugin(tmp_path, str(runs), later, provideClusterInfo=True))
        return list(await asyncio.gather(*(source.get() for _ in range(5))))

    found = asyncio.run(scenario())
    assert {each.token for each in found} == {"token-1-me"}
    info = json.loads((tmp_path / "runs.info").read_text())
    assert info["spec"]["cluster"] == {"server": "https://k", "certificate-authority-data": "Q0E="}
    assert info["spec"]["interactive"] is False


def test_an_expiring_credential_is_renewed_before_it_is_refused(tmp_path: Path) -> None:
    soon = (NOW + timedelta(seconds=5)).isoformat()

    async def scenario() -> list[str]:
        source = credentials(plugin(tmp_path, str(tmp_path / "runs"), soon))
        return [(await source.get()).token for _ in range(2)]

    assert asyncio.run(scenario()) == ["token-1-me", "token-2-me"]


def test_a_refused_credential_is_replaced_once_for_all_who_saw_the_refusal(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        source = credentials(plugin(tmp_path, str(tmp_path / "runs"), ""))
        old = await source.get()
        new = await asyncio.gather(*(source.get(refused=old) for _ in range(3)))
        return [old.token, *(each.token for each in new)]

    assert asyncio.run(scenario()) == ["token-1-me", *["token-2-me"] * 3]


def test_a_plugin_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    script = "import sys; print('tok3n'); sys.exit('please log in first')"
    with pytest.raises(ConfigError, match="please log in first") as raised:
        asyncio.run(credentials(plugin(tmp_path, script=script)).get())
    assert "tok3n" not in str(raised.value)


def test_a_plugin_that_is_not_there_says_how_to_get_it(tmp_path: Path) -> None:
    given = plugin(tmp_path, command="no-such-plugin-xyz", installHint="brew install it")
    with pytest.raises(ConfigError, match="brew install it"):
        asyncio.run(credentials(given).get())


def test_a_plugin_that_needs_a_person_is_not_run_without_one(tmp_path: Path) -> None:
    given = plugin(tmp_path, str(tmp_path / "runs"), "", interactiveMode="Always")
    with pytest.raises(ConfigError, match="terminal"):
        asyncio.run(credentials(given).get())
    assert not (tmp_path / "runs").exists()


def test_a_relative_command_is_beside_the_kubeconfig(tmp_path: Path) -> None:
    entry = {"apiVersion": V1, "command": "./bin/plugin"}
    assert ExecPlugin.read(entry, {}, tmp_path).command == str(tmp_path / "bin/plugin")


def test_an_older_version_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="v1alpha1"):
        ExecPlugin.read(
            {"apiVersion": "client.authentication.k8s.io/v1alpha1", "command": "x"}, {}, tmp_path
        )


def test_tokens_and_certificates_are_read() -> None:
    status = {"clientCertificateData": "C", "clientKeyData": "K", "token": "T"}
    found = parse_credential(json.dumps({**CREDENTIAL, "status": status}).encode(), V1)
    assert (found.token, found.certificate, found.key) == ("T", "C", "K")
    assert repr(found) == "Credential(expires=None)"


@pytest.mark.parametrize(
    "document",
    [
        b"s3cret",
        b"[]",
        json.dumps({**CREDENTIAL, "apiVersion": "other"}).encode(),
        json.dumps({**CREDENTIAL, "status": {}}).encode(),
        json.dumps({**CREDENTIAL, "status": {"token": 1}}).encode(),
        json.dumps({**CREDENTIAL, "status": {"clientKeyData": "s3cret"}}).encode(),
        json.dumps(
            {**CREDENTIAL, "status": {"token": "s3cret", "expirationTimestamp": "soon"}}
        ).encode(),
    ],
)
def test_a_wrong_answer_is_refused_without_quoting_it(document: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(its|a) ") as raised:
        parse_credential(document, V1)
    assert "s3cret" not in str(raised.value)
