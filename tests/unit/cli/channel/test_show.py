"""``ocistate channel list|show|verify`` on channels that are healthy, foreign or missing."""

from __future__ import annotations

import pytest

from tests.support.environments.shop import Shop, run


def test_list_has_what_each_channel_pins(shop: Shop) -> None:
    rows = run("channel", "list", shop.store, *shop.trust, "-o", "json").json
    assert [(row["channel"], row["number"], row["digest"], row["state"]) for row in rows] == [
        ("prod", "2", shop.digests[1], "verified"),
        ("staging", "3", shop.digests[2], "verified"),
    ]
    assert run("channel", "list", shop.store, *shop.trust, "-o", "name").out.split() == [
        "prod",
        "staging",
    ]
    head = run("channel", "list", shop.store, *shop.trust).out.splitlines()[0]
    assert head.split() == ["CHANNEL", "NUMBER", "DIGEST", "REVISION", "SINCE", "STATE"]


def test_list_names_what_cannot_be_trusted(shop: Shop) -> None:
    options = ("--channel-key", shop.pub("other"), "-o", "json")
    rows = run("channel", "list", shop.store, *options).json
    assert {row["state"] for row in rows} == {"UntrustedSigner"}
    assert all(row["problem"] for row in rows)


def test_show_prints_the_newest_record(shop: Shop) -> None:
    found = run("channel", "show", shop.store, "prod", *shop.trust, "-o", "json").json
    assert (found["sequence"], found["reason"], found["signer"]) == (2, "ship", "release")
    assert (found["hold"], found["problem"], found["rollout"]) == (False, "", None)
    out = run("channel", "show", shop.store, "prod", *shop.trust).out
    assert "Signed by:  release" in out
    assert f"@{shop.digests[1]}" in out


def test_verify_prints_the_digest(shop: Shop) -> None:
    ran = run("channel", "verify", shop.store, "staging", *shop.trust)
    assert ran.line == f"{shop.store}@{shop.digests[2]}"
    assert "3 records in one history" in ran.err
    found = run("channel", "verify", shop.store, "staging", *shop.trust, "-o", "json").json
    assert (found["records"], found["forks"], found["problems"]) == (3, [], [])


@pytest.mark.parametrize("command", ["show", "verify"])
def test_a_channel_must_be_there_and_trusted(shop: Shop, command: str) -> None:
    assert (
        "has no channel nope"
        in run("channel", command, shop.store, "nope", *shop.trust, code=11).err
    )
    options = ("--channel-key", shop.pub("other"))
    run("channel", command, shop.store, "prod", *options, code=42)
    assert "--channel-key" in run("channel", command, shop.store, "prod", code=2).err
