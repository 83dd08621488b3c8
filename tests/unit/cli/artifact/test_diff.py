"""``ocistate diff``: two artifacts of one or two stores, by references, tags and channels."""

from __future__ import annotations

import pytest

from tests.support.environments.shop import Shop, run


@pytest.mark.parametrize(
    ("before", "after"), [(":v1", ":v2"), ("prod@1", "prod"), ("staging@1", "prod@2")]
)
def test_pointers_in_a_repository_name_its_artifacts(shop: Shop, before: str, after: str) -> None:
    found = run("diff", shop.store, before, after, *shop.trust, "-o", "json").json
    assert (found["before"], found["after"]) == (shop.digests[0], shop.digests[1])


def test_fields_are_shown_and_secrets_are_not(shop: Shop) -> None:
    ran = run("diff", f"{shop.store}:v1", f"{shop.store}:v2")
    assert "~ ConfigMap/shop/app" in ran.out
    assert '/data/v: "1" → "2"' in ran.out
    assert "+ Deployment.apps/shop/api" in ran.out
    assert "hunter" not in ran.out
    assert "1 added, 1 changed, 0 removed" in ran.err


def test_json_has_each_resource_with_its_fields(shop: Shop) -> None:
    found = run("diff", shop.store, f"{shop.digests[1]}", ":v3", "-o", "json").json
    rows = {row["name"]: row for row in found["resources"]}
    assert (rows["app"]["change"], rows["api"]["change"]) == ("removed", "changed")
    assert rows["api"]["fields"] == [{"pointer": "/spec/replicas", "before": 2, "after": 5}]


def test_the_exit_code_says_whether_they_differ_when_asked(shop: Shop) -> None:
    one, two = f"{shop.store}:v1", f"{shop.store}:v2"
    assert run("diff", one, two, "-o", "name").out.split()
    run("diff", one, two, "--exit-code", "-o", "name", code=1)
    same = run("diff", one, one, "--exit-code")
    assert (same.out, same.err.strip()) == ("", "No difference.")


@pytest.mark.parametrize(
    ("operands", "said"),
    [
        ((), "needs two artifacts"),
        ((":v1",), "needs two artifacts"),
        ((":v1", ""), "no tag and no digest"),
        ((":v1", ":v2", "--stack", "web"), "require --live"),
        ((":v1", ":v2", "--context", "east"), "require --live"),
        ((":v1", ":v2", "--live"), "compares one artifact"),
        (("--live",), "compares one artifact"),
    ],
)
def test_wrong_operands_are_refused(shop: Shop, operands: tuple[str, ...], said: str) -> None:
    given = [f"{shop.store}{each}" if each[:1] in (":", "") else each for each in operands]
    if operands[:1] == ("--live",):
        given = list(operands)
    assert said in run("diff", *given, code=2).err
