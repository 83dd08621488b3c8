"""A tenant's Stack names no file of the agent's machine, in whatever field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from ocistate.agent.backends.tenants import check_reach, named_files
from ocistate.api.stack import ReportTo, Source, Stack, parse_stack
from ocistate.errors import ConfigError
from ocistate.oci import Mirror
from ocistate.reference import Reference, parse_reference

GOOD = parse_reference("h.io/shop")
STACK = Stack(
    namespace="team",
    name="app",
    uid="u",
    generation=1,
    source=Source(
        repository=GOOD,
        channel="prod",
        channel_repository=GOOD,
        mirrors=(Mirror(reference=GOOD), Mirror(reference=GOOD)),
    ),
    report=ReportTo(repository=GOOD),
)


def _kinds(hint: Any) -> set[Any]:
    inner = get_args(hint)
    return {hint} if not inner else set().union(*map(_kinds, inner))


def _planted(value: Any) -> Iterator[tuple[str, Any]]:
    """Each copy of a dataclass in which one field that may name a file does so."""
    hints = get_type_hints(type(value), None, {"Mirror": Mirror, "Reference": Reference})
    for part in fields(value):
        kinds, held = _kinds(hints[part.name]), getattr(value, part.name)
        if Path in kinds:
            yield part.name, replace(value, **{part.name: Path("/etc")})
        elif Reference in kinds:
            for bad in ("layout:/etc", "archive:/etc/x.tar"):
                yield part.name, replace(value, **{part.name: parse_reference(bad)})
        elif is_dataclass(held):
            for name, copy in _planted(held):
                yield f"{part.name}.{name}", replace(value, **{part.name: copy})
        elif isinstance(held, tuple):
            for place, item in enumerate(held):
                if is_dataclass(item):
                    for name, copy in _planted(item):
                        others = (*held[:place], copy, *held[place + 1 :])
                        yield f"{part.name}.{name}", replace(value, **{part.name: others})


def test_every_field_that_can_name_a_file_is_looked_at() -> None:
    check_reach(STACK)
    found = list(_planted(STACK))
    assert {name for name, _ in found} >= {
        "source.repository",
        "source.channel_repository",
        "source.mirrors.reference",
        "report.repository",
        "directory",
        "kubeconfig",
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
