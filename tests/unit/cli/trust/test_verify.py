"""``ocistate verify``: the verdict, its exit code, and what programs get of it."""

from __future__ import annotations

import pytest

from tests.support.environments.shop import Shop, run


def test_the_digest_is_printed_when_a_trusted_key_signed(shop: Shop) -> None:
    ran = run("verify", f"{shop.store}:v2", *shop.trust, "-v")
    assert ran.line == f"{shop.store}@{shop.digests[1]}"
    assert "Verified: signed by ci." in ran.err
    assert "✓" in ran.err


def test_json_explains_each_signature(shop: Shop) -> None:
    found = run("verify", f"{shop.store}:v2", "--key", shop.pub("art"), "-o", "json").json
    assert (found["verified"], found["mode"], found["digest"]) == (True, "enforce", shop.digests[1])
    (signature,) = found["signatures"]
    assert signature["counts"]
    assert found["attestations"] == []


@pytest.mark.parametrize(
    ("tag", "key", "code", "reason"),
    [("raw", "art", 41, "NotSigned"), ("v1", "other", 42, "UntrustedSigner")],
)
def test_each_refusal_has_its_exit_code(
    shop: Shop, tag: str, key: str, code: int, reason: str
) -> None:
    ran = run("verify", f"{shop.store}:{tag}", "--key", shop.pub(key), "-o", "json", code=code)
    assert (ran.json["verified"], ran.json["reason"]) == (False, reason)
    assert "Error: " in ran.err
    assert run("verify", f"{shop.store}:{tag}", "--key", shop.pub(key), code=code).out == ""


def test_an_attestation_that_is_missing_is_named(shop: Shop) -> None:
    options = ("--key", shop.pub("art"), "--attestation", "spdxjson")
    run("verify", f"{shop.store}:v1", *options, code=46)
