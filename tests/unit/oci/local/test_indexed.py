"""The index.json of a layout: tags, digests, and fields of other tools."""

from __future__ import annotations

import json

import pytest

from ocistate.errors import ProtocolError
from ocistate.oci.local.indexed import REF_NAME, IndexListing
from ocistate.oci.model import EMPTY_CONFIG, build_manifest

ONE, TWO = (
    build_manifest(config=EMPTY_CONFIG, layers=(), annotations={"n": n}).descriptor for n in "12"
)


def test_a_new_layout_lists_nothing() -> None:
    listing = IndexListing.empty()
    assert (listing.tags, listing.entries) == ([], ())
    assert IndexListing.parse(listing.to_bytes()).entries == ()


def test_entries_are_found_by_tag_and_by_digest() -> None:
    listing = IndexListing.empty().with_entry(ONE, "v1").with_entry(TWO, None)
    by_tag, by_digest = listing.find("v1"), listing.find(TWO.digest)
    assert by_tag is not None
    assert by_tag.descriptor.digest == ONE.digest
    assert by_digest is not None
    assert by_digest.tag is None
    assert listing.find("v2") is None


def test_a_tag_moves_and_its_old_manifest_stays() -> None:
    listing = IndexListing.empty().with_entry(ONE, "v1").with_entry(TWO, "v1")
    moved = listing.find("v1")
    assert moved is not None
    assert moved.descriptor.digest == TWO.digest
    assert listing.find(ONE.digest) is not None


def test_an_entry_that_is_listed_is_not_added_again() -> None:
    listing = IndexListing.empty().with_entry(ONE, "v1")
    assert listing.with_entry(ONE, None) is listing
    assert len(listing.with_entry(ONE, "v2").entries) == 2


def test_fields_of_other_tools_are_kept() -> None:
    value = {
        "schemaVersion": 2,
        "x-tool": {"a": 1},
        "manifests": [{**ONE.to_dict(), "platform": {"os": "linux"}}],
    }
    listing = IndexListing.parse(json.dumps(value).encode()).with_entry(ONE, "v1")
    written = json.loads(listing.to_bytes())
    assert written["x-tool"] == {"a": 1}
    assert written["manifests"][0]["platform"] == {"os": "linux"}
    assert written["manifests"][0]["annotations"][REF_NAME] == "v1"


def test_an_index_of_another_shape_is_refused() -> None:
    with pytest.raises(ProtocolError):
        IndexListing.parse(b'{"schemaVersion": 2, "manifests": 1}')
