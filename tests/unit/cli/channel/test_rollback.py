"""``ocistate rollback``: to the release before, or to one that is named."""

from __future__ import annotations

import pytest

from tests.support.environments.shop import Shop, run


@pytest.mark.parametrize(("to", "digest"), [((), 1), (("--to", "1"), 0), (("--to", "2"), 1)])
def test_a_dry_run_shows_where_it_goes(shop: Shop, to: tuple[str, ...], digest: int) -> None:
    options = (*to, *shop.sign, "--dry-run", "-o", "json")
    found = run("rollback", shop.store, "staging", *options).json
    assert found["subjects"][0]["digest"] == shop.digests[digest]
    assert (found["hold"], found["dryRun"], found["before"]) == (True, True, "staging@3")


@pytest.mark.parametrize(
    ("channel", "options", "code", "said"),
    [
        ("nope", ("--yes",), 11, "has no channel nope"),
        ("staging", ("--to", "9", "--yes"), 11, "9"),
        ("staging", ("--to", "sha256:" + "0" * 64, "--yes"), 11, "never had"),
        ("staging", (), 2, "--dry-run"),
    ],
)
def test_refusals_write_nothing(
    shop: Shop, channel: str, options: tuple[str, ...], code: int, said: str
) -> None:
    ran = run("rollback", shop.store, channel, *options, *shop.sign, code=code)
    assert said in ran.err
    rows = run("history", shop.store, "staging", *shop.trust, "-o", "name").out.split()
    assert rows[0] == "staging@3"
