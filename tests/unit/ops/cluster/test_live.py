"""The fields that a dry run would change, with the values of Secrets masked."""

from __future__ import annotations

from ocistate.apply.preview import Preview
from ocistate.ops.cluster.live import field_changes


def test_changed_fields_are_listed() -> None:
    before = {"kind": "ConfigMap", "data": {"v": "1", "w": "1"}}
    after = {"kind": "ConfigMap", "data": {"v": "2", "w": "1"}}
    (field,) = field_changes(Preview(before=before, after=after))
    assert (field.pointer, field.before, field.after) == ("/data/v", "1", "2")


def test_what_is_created_has_no_changed_fields() -> None:
    assert field_changes(Preview(before=None, after={"kind": "ConfigMap"})) == ()


def test_the_values_of_secrets_are_masked() -> None:
    before = {"apiVersion": "v1", "kind": "Secret", "data": {"v": "b2xk"}}
    after = {"apiVersion": "v1", "kind": "Secret", "data": {"v": "bmV3"}}
    (field,) = field_changes(Preview(before=before, after=after))
    assert field.pointer == "/data/v"
    assert "b2xk" not in str(field.before)
    assert "bmV3" not in str(field.after)
