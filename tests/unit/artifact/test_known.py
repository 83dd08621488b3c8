"""What was read before is not parsed again, and says the same as if it were."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocistate.artifact import known as module
from ocistate.artifact.known import KnownDocuments
from ocistate.artifact.manifests import read_resources
from ocistate.documents.reader import Budget
from ocistate.documents.text import split_documents
from ocistate.errors import InvalidManifest
from ocistate.objects import Resource


def document(name: str, text: str = "x") -> str:
    head = f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n"
    return f"{head}data:\n  text: |\n    {text}\n"


def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is given to the parser from now on."""
    seen: list[bytes] = []

    def spy(path: str, data: bytes, budget: Budget) -> object:
        seen.append(data)
        return read_resources(path, data, budget)

    monkeypatch.setattr(module, "read_resources", spy)
    return seen


def test_only_what_changed_is_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    known = KnownDocuments()
    before = "---\n".join(document(f"a-{n}") for n in range(50))
    known.read("all.yaml", before.encode())
    known.settle()
    seen = parsed(monkeypatch)
    after = before.replace("name: a-7\ndata:\n  text: |\n    x", "name: a-7\ndata: {more: lines}")
    found = known.read("all.yaml", after.encode())
    assert len(seen) == 1
    assert b"a-7" in seen[0]
    assert len(seen[0]) < 200
    assert found == list(read_resources("all.yaml", after.encode()))


def test_a_document_that_went_and_comes_back_is_parsed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = KnownDocuments()
    for name in ("a", "b"):
        known.read("m.yaml", document(name).encode())
        known.settle()
    seen = parsed(monkeypatch)
    known.read("m.yaml", document("a").encode())
    assert len(seen) == 1


def test_the_line_of_an_error_is_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    known = KnownDocuments()
    known.read("m.yaml", (document("a") + "---\n" + document("b")).encode())
    known.settle()
    broken = (document("a") + "---\n" + document("b") + "---\nkind: {{ .Values.kind }}\n").encode()
    with pytest.raises(InvalidManifest) as whole:
        list(read_resources("m.yaml", broken))
    with pytest.raises(InvalidManifest) as again:
        known.read("m.yaml", broken)
    assert str(again.value) == str(whole.value)


@pytest.mark.parametrize(
    "text",
    [
        "%YAML 1.1\n---\n" + document("a"),
        document("a") + "...\n---\n" + document("b"),
        document("a") + "\r---\r" + document("b"),
        document("a", "y\u2028---\u2028z"),
        "\ufeff" + document("a"),
    ],
)
def test_where_documents_cannot_be_told_apart_the_file_is_parsed_as_a_whole(text: str) -> None:
    assert split_documents("m.yaml", text.encode()) is None


PIECES = st.lists(
    st.sampled_from(
        [
            "---\n",
            "--- # a comment\n",
            "---   \n",
            "# only a comment\n",
            "\n",
            document("a"),
            document("b"),
            document("c", "--- no document"),
            document("d", "x\n    ---\n    y"),
            "kind: List\napiVersion: v1\nitems:\n- " + document("e").replace("\n", "\n  ") + "\n",
            "---\tfoo: bar\n",
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: f}}\n",
            "&x {apiVersion: v1, kind: ConfigMap, metadata: {name: g}}\n",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: 'h\n\n  ---'}\n",
        ]
    ),
    max_size=12,
)


@given(PIECES, PIECES)
def test_read_with_what_is_known_is_read_as_a_whole(first: list[str], second: list[str]) -> None:
    known = KnownDocuments()
    for pieces in (first, second, first, second):
        data = "".join(pieces).encode()
        assert outcome(lambda: known.read("m.yaml", data)) == outcome(  # noqa: B023 - used at once
            lambda: list(read_resources("m.yaml", data))  # noqa: B023
        )
        known.settle()


def outcome(read: Callable[[], list[Resource]]) -> list[Resource] | str:
    try:
        return read()
    except InvalidManifest as error:
        return str(error)
