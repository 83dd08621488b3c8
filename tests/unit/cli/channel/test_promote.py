"""``ocistate promote``: what may be promoted, and that refusals write nothing."""

from __future__ import annotations

import pytest

from tests.support.environments.shop import Shop, run


def prod(shop: Shop) -> str:
    number: str = run("channel", "show", shop.store, "prod", *shop.trust, "-o", "name").line
    return number


def test_a_dry_run_shows_the_changes_and_writes_nothing(shop: Shop) -> None:
    options = ("--from", "staging", "--to", "prod", "--dry-run", *shop.sign)
    ran = run("promote", shop.store, *options, "-o", "json")
    assert (ran.json["dryRun"], ran.json["unchanged"], ran.json["record"]) == (True, False, "")
    (change,) = ran.json["changes"]
    assert (change["before"], change["after"]) == (shop.digests[1], shop.digests[2])
    assert "- ConfigMap/shop/app" in ran.err
    assert prod(shop) == "prod@2"


def test_what_the_channel_names_already_is_unchanged(shop: Shop) -> None:
    ran = run("promote", shop.store, "--tag", "v2", "--to", "prod", *shop.sign, "-o", "json")
    assert ran.json["unchanged"]
    assert prod(shop) == "prod@2"


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--tag", "v3"), 2, "not a terminal"),
        (("--tag", "raw", "--yes"), 41, "not signed"),
        (("--tag", "v9", "--yes"), 11, "v9"),
        (("--from", "nope", "--yes"), 11, "has no channel nope"),
        (("--tag", "v3", "--drop", "other/repo", "--yes"), 2, "does not name other/repo"),
        (("--tag", "v3", "--with", "{store}:v2", "--yes"), 2, "name each repository once"),
        (("--tag", "v3", "--with", "{store}", "--yes"), 2, "no tag and no digest"),
        (("--tag", "v3", "--rings", "canary", "--yes"), 4, "rings"),
        (("--tag", "v3", "--expires", "soon", "--yes"), 2, "--expires"),
        (("--tag", "v3", "--allow-unsigned", "--yes"), 2, "--allow-unsigned"),
        (("--tag", "v3", "--artifact-key", "{pub}", "--yes"), 2, "--artifact-key"),
    ],
)
def test_refusals_write_nothing(shop: Shop, options: tuple[str, ...], code: int, said: str) -> None:
    given = [text.format(store=shop.store, pub=shop.pub("art")) for text in options]
    ran = run("promote", shop.store, "--to", "prod", *given, *shop.sign, code=code)
    assert said in ran.err
    assert ran.out == ""
    assert prod(shop) == "prod@2"


def test_a_key_that_signs_artifacts_moves_no_channel(shop: Shop) -> None:
    options = ("--artifact-key", shop.pub("chan"), "--channel-key", shop.pub("chan"))
    given = ("--tag", "v3", "--to", "prod", "--key", shop.key("chan"), *options, "--yes")
    assert "ocistate keygen" in run("promote", shop.store, *given, code=2).err
    assert prod(shop) == "prod@2"


def test_a_channel_that_is_missing_cannot_be_moved(shop: Shop) -> None:
    ran = run("promote", shop.store, "--tag", "v3", "--to", "nope", *shop.sign, "--yes", code=11)
    assert "ocistate channel init" in ran.err
