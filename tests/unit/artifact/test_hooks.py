"""Helm's hooks: which are left out of an apply, byte for byte."""

from __future__ import annotations

import pytest

from ocistate.artifact.hooks import hooks_of, is_for_elsewhen, leave_out_hooks
from ocistate.objects import Resource


def pod(name: str, hook: str = "") -> str:
    notes = f", annotations: {{helm.sh/hook: '{hook}'}}" if hook else ""
    return f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}{notes}}}\n"


@pytest.mark.parametrize(
    ("hook", "moments", "elsewhen"),
    [
        ("test", ("test",), True),
        ("pre-delete, post-delete", ("pre-delete", "post-delete"), True),
        ("pre-install,pre-delete", ("pre-install", "pre-delete"), False),
        ("pre-upgrade", ("pre-upgrade",), False),
        ("", (), False),
    ],
)
def test_the_moments_of_a_hook(hook: str, moments: tuple[str, ...], elsewhen: bool) -> None:
    obj = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "annotations": {"helm.sh/hook": hook}},
    }
    assert hooks_of(Resource.of(obj, path="a.yaml")) == moments
    assert is_for_elsewhen(moments) is elsewhen


def test_hooks_for_other_moments_are_left_out_and_all_other_bytes_stay() -> None:
    first, test, last = pod("a"), "---\n" + pod("t", "test"), "---\n# kept\n" + pod("b")
    kept, notes = leave_out_hooks({"a.yaml": (first + test + last).encode()})
    assert kept == {"a.yaml": (first + last).encode()}
    assert notes == ["a.yaml: Pod/t is a Helm hook (test), and left out"]


def test_a_file_of_such_hooks_alone_goes_as_a_whole() -> None:
    files = {"t.yaml": pod("t", "test").encode(), "a.yaml": pod("a", "pre-install").encode()}
    kept, _ = leave_out_hooks(files)
    assert list(kept) == ["a.yaml"]


def test_what_cannot_be_read_stays_to_be_reported_later() -> None:
    broken = b"helm.sh/hook: [\n"
    assert leave_out_hooks({"a.yaml": broken}) == ({"a.yaml": broken}, [])
