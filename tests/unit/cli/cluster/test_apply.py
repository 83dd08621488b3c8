"""What ``ocistate apply`` says of each object; applying itself needs an API server."""

from __future__ import annotations

import pytest

from ocistate.apply.plan import Verb
from ocistate.apply.preview import Preview
from ocistate.apply.result import ObjectState, Result
from ocistate.cli.cluster.apply import result_line, result_row
from ocistate.errors import ApplyFailed
from ocistate.objects import ObjectId
from tests.support.environments.shop import Shop, run

ID = ObjectId("", "ConfigMap", "shop", "app")


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (
            Result(id=ID, verb=Verb.CREATE, state=ObjectState.APPLIED),
            "+ ConfigMap/shop/app applied",
        ),
        (Result(id=ID, verb=Verb.PRUNE, state=ObjectState.APPLIED), "- ConfigMap/shop/app applied"),
        (
            Result(id=ID, verb=Verb.SKIP, state=ObjectState.SKIPPED, reason="it is ignored"),
            "· ConfigMap/shop/app skipped: it is ignored",
        ),
        (
            Result(id=ID, verb=Verb.CHANGE, state=ObjectState.FAILED, error=ApplyFailed("refused")),
            "~ ConfigMap/shop/app failed: refused",
        ),
        (
            Result(
                id=ID, verb=Verb.CHANGE, state=ObjectState.APPLIED, overruled=("/data/v", "/data/w")
            ),
            "~ ConfigMap/shop/app applied: admission overrules /data/v, /data/w",
        ),
    ],
)
def test_each_result_is_a_line(result: Result, line: str) -> None:
    assert result_line(result) == line


def test_a_row_has_the_fields_of_a_dry_run() -> None:
    preview = Preview(
        before={"kind": "ConfigMap", "data": {"v": "1"}},
        after={"kind": "ConfigMap", "data": {"v": "2"}},
    )
    row = result_row(Result(id=ID, verb=Verb.CHANGE, state=ObjectState.APPLIED, preview=preview))
    assert (row["object"], row["verb"], row["error"]) == ("ConfigMap/shop/app", "change", "")
    assert row["fields"] == [{"pointer": "/data/v", "before": "1", "after": "2"}]
    assert "fields" not in result_row(Result(id=ID, verb=Verb.CREATE, state=ObjectState.APPLIED))


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ((), 2, "no trust source given"),
        (("--key", "{pub}", "--max-prune", "101"), 2, "--max-prune"),
        (("--key", "{pub}", "--kubeconfig", "{pub}.none"), 4, "none"),
    ],
)
def test_wrong_options_apply_nothing(
    shop: Shop, options: tuple[str, ...], code: int, said: str
) -> None:
    given = [text.format(pub=shop.pub("art")) for text in options]
    assert said in run("apply", f"{shop.store}:v1", *given, code=code).err


def test_a_tag_or_digest_is_needed(shop: Shop) -> None:
    ran = run("apply", shop.store, "--key", shop.pub("art"), code=2)
    assert "ocistate apply" in ran.err
