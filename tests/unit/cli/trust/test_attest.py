"""``ocistate attest``: a signed statement, checked before it is signed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.environments.shop import Shop, run

TYPE = "https://example.com/tested/v1"


def test_an_attestation_is_verified_by_its_type(shop: Shop, tmp_path: Path) -> None:
    mine = shop.copy(tmp_path)
    options = ("--type", TYPE, "--predicate", "-", "--key", mine.key("art"), "-o", "json")
    found = run("attest", f"{mine.store}:v1", *options, stdin='{"passed": true}').json
    assert (found["digest"], found["predicateType"]) == (shop.digests[0], TYPE)
    checked = ("--key", mine.pub("art"), "--attestation", TYPE, "-o", "json")
    (attested,) = run("verify", f"{mine.store}:v1", *checked).json["attestations"]
    assert attested["predicate"] == {"passed": True}


@pytest.mark.parametrize(
    ("predicate", "code", "said"),
    [(b"{", 3, "predicate.json"), (b"[1]", 3, "predicate.json"), (None, 3, "cannot be read")],
)
def test_a_wrong_predicate_is_not_signed(
    shop: Shop, tmp_path: Path, predicate: bytes | None, code: int, said: str
) -> None:
    path = tmp_path / "predicate.json"
    if predicate is not None:
        path.write_bytes(predicate)
    options = ("--type", "spdxjson", "--predicate", path, "--key", shop.key("art"))
    assert said in run("attest", f"{shop.store}:raw", *options, code=code).err
    assert run("inspect", f"{shop.store}:raw", "-o", "json").json["signatures"] == []


def test_a_signer_is_required(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "predicate.json"
    path.write_text(json.dumps({"passed": True}))
    options = ("--type", TYPE, "--predicate", path)
    assert "--key" in run("attest", f"{shop.store}:v1", *options, code=2).err


def test_a_terminal_is_not_read_as_a_predicate(shop: Shop) -> None:
    options = ("--type", TYPE, "--predicate", "-", "--key", shop.key("art"))
    assert "terminal" in run("attest", f"{shop.store}:v1", *options, terminal=True, code=2).err
