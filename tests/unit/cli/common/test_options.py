"""Arguments that most commands share."""

from __future__ import annotations

import pytest

from ocistate.cli.common.options import (
    REFERENCE,
    REPOSITORY,
    parse_annotations,
    required_target,
    run_async,
)
from ocistate.errors import ConfigError, InvalidReference, UsageError
from ocistate.reference import parse_reference


def test_references_are_read_once() -> None:
    reference = parse_reference("reg.io/shop:v1")
    assert REFERENCE.convert("reg.io/shop:v1", None, None) == reference
    assert REFERENCE.convert(reference, None, None) is reference
    with pytest.raises(InvalidReference):
        REFERENCE.convert("reg.io/Shop:v1", None, None)


@pytest.mark.parametrize("text", ["reg.io/shop:v1", "layout:folder@sha256:" + "0" * 64])
def test_a_repository_has_no_tag_or_digest(text: str) -> None:
    with pytest.raises(UsageError) as found:
        REPOSITORY.convert(text, None, None)
    assert found.value.hint == f"write {parse_reference(text).base}"


def test_a_target_is_a_tag_or_digest() -> None:
    assert required_target(parse_reference("reg.io/shop:v1"), "pull") == "v1"
    with pytest.raises(UsageError) as found:
        required_target(parse_reference("reg.io/shop"), "pull")
    assert found.value.hint == "write 'ocistate pull reg.io/shop:TAG'"


def test_annotations_are_pairs() -> None:
    assert parse_annotations(("a=1", " b =x=y", "c=")) == {"a": "1", "b": "x=y", "c": ""}
    for wrong in ("a", "=1", " =1"):
        with pytest.raises(ConfigError, match="KEY=VALUE"):
            parse_annotations((wrong,))


def test_a_coroutine_runs_to_its_result() -> None:
    async def three() -> int:
        return 3

    assert run_async(three()) == 3
