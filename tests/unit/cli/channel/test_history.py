"""``ocistate history``: the records of a channel, or of all, newest first."""

from __future__ import annotations

from tests.support.environments.shop import REVISIONS, Shop, run


def test_records_are_listed_newest_first(shop: Shop) -> None:
    rows = run("history", shop.store, "staging", *shop.trust, "-o", "json").json
    assert [(row["number"], row["digest"], row["revision"]) for row in rows] == [
        (str(number), shop.digests[number - 1], REVISIONS[number]) for number in (3, 2, 1)
    ]
    assert all(row["verified"] and row["actor"] == "alice" for row in rows)
    assert rows[0]["previous"] == rows[1]["record"]


def test_without_a_name_all_channels_are_listed(shop: Shop) -> None:
    out = run("history", shop.store, *shop.trust, "-o", "name").out.split()
    assert out == ["prod@2", "prod@1", "staging@3", "staging@2", "staging@1"]
    head = run("history", shop.store, *shop.trust).out.splitlines()[0]
    assert head.split()[:2] == ["CHANNEL", "NUMBER"]


def test_the_limit_counts_for_each_channel(shop: Shop) -> None:
    out = run("history", shop.store, "--limit", "1", *shop.trust, "-o", "name").out.split()
    assert out == ["prod@2", "staging@3"]


def test_without_trust_nothing_is_verified(shop: Shop) -> None:
    ran = run("history", shop.store, "prod", "-o", "json")
    assert not any(row["verified"] for row in ran.json)


def test_a_key_that_signed_none_of_them_proves_none(shop: Shop) -> None:
    options = ("--channel-key", shop.pub("other"), "-o", "json")
    rows = run("history", shop.store, "prod", *options).json
    assert [row["problem"] for row in rows] == ["signed by no channel key"] * 2


def test_commits_link_the_releases(shop: Shop) -> None:
    rows = run("history", shop.store, "staging", "--git", *shop.trust, "-o", "json").json
    assert rows[0]["commits"]["range"] == f"{'2' * 12}..{'3' * 12}"


def test_an_unknown_channel_is_an_error(shop: Shop) -> None:
    assert "has no channel nope" in run("history", shop.store, "nope", code=11).err
