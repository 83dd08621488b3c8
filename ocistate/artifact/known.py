"""Documents that have been read before: from one artifact to the next, only what changed is parsed.

    known = KnownDocuments()
    resources_of(files, inventory, known)     # parses all
    resources_of(later, inventory, known)     # parses what is new in it

A document is known by its very text. What is read either way is checked against the inventory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ocistate.artifact.manifests import read_resources
from ocistate.documents.reader import Budget
from ocistate.documents.text import split_documents
from ocistate.errors import InvalidManifest
from ocistate.objects import Resource


class KnownDocuments:
    """The resources of documents read before; what the last artifact does not hold is forgotten."""

    def __init__(self) -> None:
        self._known: dict[bytes, _Document] = {}
        self._fresh: dict[bytes, _Document] = {}
        self._budget = Budget()

    def __len__(self) -> int:
        return len(self._known)

    def read(self, path: str, data: bytes) -> list[Resource]:
        """As `read_resources`. Raises InvalidManifest."""
        texts = split_documents(path, data)
        if texts is None:
            return list(read_resources(path, data, self._budget))
        keys = [hashlib.sha256(text).digest() for text in texts]
        if not self._known.keys().isdisjoint(keys):
            documents = self._read_new(path, texts, keys)
            if documents is not None:
                self._fresh.update(zip(keys, documents, strict=True))
                return [resource for document in documents for resource in document.resources]
        resources = list(read_resources(path, data, self._budget))
        self._fresh.update(zip(keys, _by_document(texts, resources), strict=False))
        return resources

    def settle(self) -> None:
        """All files of an artifact have been read."""
        self._known, self._fresh = self._fresh, {}
        self._budget = Budget()

    def _read_new(
        self, path: str, texts: Sequence[bytes], keys: Sequence[bytes]
    ) -> list[_Document] | None:
        """The documents, parsed where they are not known; None when the file must be as a whole."""
        documents = []
        before = 0
        for index, (text, key) in enumerate(zip(texts, keys, strict=True)):
            document = self._known.get(key)
            if document is None:
                try:
                    resources = tuple(read_resources(path, text, self._budget))
                except InvalidManifest:
                    return None  # which names the right line
                if any(resource.index for resource in resources):
                    return None
                document = _Document(resources[0].line if resources else 1, resources)
            documents.append(document.at(path, index, before))
            before += text.count(b"\n")
        return documents


@dataclass(frozen=True, slots=True)
class _Document:
    """What one document holds. ``line`` counts from its own first line."""

    line: int
    resources: tuple[Resource, ...]

    def at(self, path: str, index: int, before: int) -> _Document:
        """The same in another place, ``before`` lines down."""
        line = before + self.line
        if all((r.path, r.index, r.line) == (path, index, line) for r in self.resources):
            return self
        moved = tuple(replace(r, path=path, index=index, line=line) for r in self.resources)
        return _Document(self.line, moved)


def _by_document(texts: Sequence[bytes], resources: Sequence[Resource]) -> list[_Document]:
    """The resources of each text; nothing, when the parser saw other documents than these."""
    by_text: list[list[Resource]] = [[] for _ in texts]
    for resource in resources:
        if resource.index >= len(texts):
            return []
        by_text[resource.index].append(resource)
    documents = []
    before = 0
    for text, found in zip(texts, by_text, strict=True):
        lines = text.count(b"\n") + 1
        line = found[0].line - before if found else 1
        if not 1 <= line <= lines:
            return []
        documents.append(_Document(line, tuple(found)))
        before += lines - 1
    return documents
