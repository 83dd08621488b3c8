"""A tenant's Stack names no file of the agent's machine, in whatever field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args

import pytest
from msgspec import Struct, structs

from ocistate.agent.backends.tenants import check_reach, named_files
from ocistate.api.names import LocalPath, Repository
from ocistate.api.stack import parse_stack
from ocistate.errors import ConfigError

SPEC = {
    "source": {
        "repository": "h.io/shop",
        "channel": "prod",
        "channelRepository": "h.io/shop",
        "mirrors": [{"repository": "h.io/shop"}, {"repository": "h.io/shop"}],
    },
    "report": {"repository": "h.io/shop"},
}
STACK = parse_stack({"metadata": {"namespace": "team", "name": "app"}, "spec": SPEC})


def _kinds(hint: Any) -> set[Any]:
    inner = get_args(hint)
    return {hint} if not inner else set().union(*map(_kinds, inner))


def _planted(value: Struct) -> Iterator[tuple[str, Any]]:
    """Each copy of a struct in which one field that may name a file does so."""
    for part in structs.fields(value):
        kinds, held = _kinds(part.type), getattr(value, part.name)
        if LocalPath in kinds:
            yield part.name, structs.replace(value, **{part.name: LocalPath("/etc")})
        elif Repository in kinds:
            for bad in ("layout:/etc", "archive:/etc/x.tar"):
                yield part.name, structs.replace(value, **{part.name: Repository.read(bad)})
        elif isinstance(held, Struct):
            for name, copy in _planted(held):
                yield f"{part.name}.{name}", structs.replace(value, **{part.name: copy})
        elif isinstance(held, tuple):
            for place, item in enumerate(held):
                for name, copy in _planted(item):
                    others = (*held[:place], copy, *held[place + 1 :])
                    yield f"{part.name}.{name}", structs.replace(value, **{part.name: others})


def test_every_field_that_can_name_a_file_is_looked_at() -> None:
    check_reach(STACK)
    found = [(name, replace(STACK, spec=spec)) for name, spec in _planted(STACK.spec)]
    assert {name for name, _ in found} >= {
        "source.repository",
        "source.channel_repository",
        "source.mirrors.repository",
        "report.repository",
        "target.directory",
        "target.kubeconfig",
    }
    for name, stack in found:
        with pytest.raises(ConfigError, match="means nothing inside a cluster"):
            check_reach(stack)
        assert len(list(named_files(stack))) == 1, name


@pytest.mark.parametrize(
    ("field", "spec"),
    [
        ("spec.report.repository", {"report": {"repository": "layout:/var/lib/ocistate/x"}}),
        ("spec.report.repository", {"report": {"repository": "archive:///tmp/x.tar"}}),
        ("spec.source.channelRepository", {"source": {"channelRepository": "layout:/x"}}),
        (
            "spec.source.mirrors[].repository",
            {"source": {"mirrors": [{"repository": "layout:/x"}]}},
        ),
        ("spec.source.repository", {"source": {"repository": "layout://x"}}),
        ("spec.target.directory", {"target": {"directory": "/x"}}),
    ],
)
def test_the_field_is_named(field: str, spec: dict[str, Any]) -> None:
    source = {"repository": "h.io/shop", "channel": "prod", **spec.pop("source", {})}
    obj = {"metadata": {"namespace": "team", "name": "app"}, "spec": {"source": source, **spec}}
    with pytest.raises(ConfigError) as caught:
        check_reach(parse_stack(obj))
    assert field in caught.value.message
