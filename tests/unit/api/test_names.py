"""Texts with rules that no pattern can say."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ocistate.api.decode import decode, encode
from ocistate.api.names import ArtifactFolder, Cel, ChannelName, Name, OptionalCel, Repository
from ocistate.api.struct import ApiStruct
from ocistate.errors import ConfigError


class Holder(ApiStruct, frozen=True, kw_only=True):
    name: Name = "a"
    channel: ChannelName = ChannelName()
    folder: ArtifactFolder = ArtifactFolder()
    healthy: Cel = Cel()
    failed: OptionalCel = OptionalCel()
    repository: Repository | None = None


@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        ({"name": "a\n"}, "name: is not a Kubernetes name", "allowed: lower-case letters"),
        ({"name": "A"}, "name: is not a Kubernetes name", "allowed: lower-case letters"),
        ({"channel": "prod-1"}, "channel: 'prod-1' is not a channel's name", "no '-NUMBER'"),
        ({"channel": "a\n"}, "channel: 'a\\n' is not a channel's name", "lower-case letters"),
        ({"folder": "a/../b"}, "folder: 'a/../b' is not a folder", "write apps/web"),
        ({"healthy": ""}, "healthy: must be a text, and not an empty one", ""),
        ({"healthy": "a =="}, "healthy: ", ""),
        ({"failed": "\x1b"}, "failed: has characters that can't be printed", "remove them"),
        ({"repository": "h.io/a:v1"}, "repository: names a tag or digest", "use the fields"),
        ({"repository": ["h.io/a"]}, "repository: must be a text", ""),
        ({"repository": ""}, "repository: ", "write"),
        ({1: 2}, "has a key that is not a text", "quote it"),
    ],
)
def test_the_error_names_field_and_fix(value: Any, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        decode(Holder, value)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_what_is_read_is_normal_and_written_as_it_is() -> None:
    found = decode(Holder, {"folder": "./a/b//", "failed": "", "repository": "oci://h.io/a"})
    assert (found.folder, found.failed) == ("a/b", "")
    assert encode(found)["folder"] == "a/b"
    assert "repository" not in encode(decode(Holder, {}))


def test_a_repository_keeps_its_reference_when_copied() -> None:
    repository = Repository.read("layout:/srv/a")
    assert copy.deepcopy(repository).reference == repository.reference


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    value: Any = {}
    for _ in range(100_000):
        value = {"a": value}
    with pytest.raises(ConfigError, match="nested too deeply"):
        decode(Holder, {"name": value}, path="spec", origin="f.yaml:1")
