"""References: every form, and every bad form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocistate.errors import InvalidReference
from ocistate.reference import Reference, parse_reference

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("oci://registry.example.com/shop", "registry.example.com", "shop", None, None),
        ("registry.example.com/shop", "registry.example.com", "shop", None, None),
        ("registry.example.com/team/shop:v1", "registry.example.com", "team/shop", "v1", None),
        ("localhost/shop:v1", "localhost", "shop", "v1", None),
        ("localhost:5000/shop", "localhost:5000", "shop", None, None),
        ("127.0.0.1:5000/a/b/c:x", "127.0.0.1:5000", "a/b/c", "x", None),
        ("[::1]:5000/shop:v1", "[::1]:5000", "shop", "v1", None),
        (f"h.io/shop@{DIGEST}", "h.io", "shop", None, DIGEST),
        (f"h.io/shop:v1@{DIGEST}", "h.io", "shop", "v1", DIGEST),
        ("H.IO/shop:V1", "h.io", "shop", "V1", None),
        ("h.io/a_b/c__d/e-f/g.h", "h.io", "a_b/c__d/e-f/g.h", None, None),
    ],
)
def test_references_to_registries(
    text: str, registry: str, repository: str, tag: str | None, digest: str | None
) -> None:
    parsed = parse_reference(text)
    assert (parsed.scheme, parsed.registry, parsed.repository) == ("oci", registry, repository)
    assert (parsed.tag, parsed.digest) == (tag, digest)
    assert parsed.name == f"{registry}/{repository}"
    assert parsed.target == (digest or tag)


def test_a_reference_to_an_archive() -> None:
    parsed = parse_reference("archive:./shop.tar:v1")
    assert (parsed.scheme, parsed.repository, parsed.tag) == ("archive", "./shop.tar", "v1")
    assert str(parsed) == "archive:./shop.tar:v1"


@pytest.mark.parametrize(
    ("text", "folder", "tag", "digest"),
    [
        ("layout:store", "store", None, None),
        ("layout:./store:v1", "./store", "v1", None),
        ("layout:/srv/a:b/store", "/srv/a:b/store", None, None),
        (f"layout:/srv/store@{DIGEST}", "/srv/store", None, DIGEST),
        ("layout:../My Store:v1", "../My Store", "v1", None),
    ],
)
def test_references_to_layouts(text: str, folder: str, tag: str | None, digest: str | None) -> None:
    parsed = parse_reference(text)
    assert (parsed.scheme, parsed.registry, parsed.repository) == ("layout", "", folder)
    assert (parsed.tag, parsed.digest) == (tag, digest)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " h.io/shop",
        "h.io/shop ",
        "h.io/sh\nop",
        "shop",
        "shop:v1",
        "library/nginx",
        "h.io/",
        "h.io",
        "/shop",
        "h.io//shop",
        "h.io/Shop",
        "h.io/shop/",
        "h.io/-shop",
        "h.io/shop..x",
        "h.io/shop:",
        "h.io/shop:-v1",
        "h.io/shop:.v1",
        "h.io/shop:v1:v2",
        "h.io/shop:" + "x" * 129,
        "h.io/shop@",
        "h.io/shop@sha256:abc",
        "h.io/shop@md5:" + "0" * 32,
        f"h.io/shop@{DIGEST.upper()}",
        f"h.io/shop@{DIGEST}@{DIGEST}",
        "h.io:port/shop",
        "h.io:99999/shop",
        "h.io:0/shop",
        "user:password@h.io/shop",
        "https://h.io/shop",
        "docker://h.io/shop",
        "oci://",
        "oci://shop",
        "-h.io/shop",
        "h..io/shop",
        "h.io/" + "a" * 256,
        "layout:",
        "archive:",
        "layout::v1",
        "layout:store@sha256:x",
        "h.io/\u0455hop",
    ],
)
def test_bad_forms_are_refused(text: str) -> None:
    with pytest.raises(InvalidReference):
        parse_reference(text)


def test_credentials_never_show_in_a_reference() -> None:
    with pytest.raises(InvalidReference) as caught:
        parse_reference("robot:hunter2@h.io/shop")
    assert "host" in str(caught.value)


def test_a_reference_moves_to_a_tag_or_digest() -> None:
    base = parse_reference(f"h.io/shop:v1@{DIGEST}")
    assert str(base.base) == "h.io/shop"
    assert str(base.with_tag("v2")) == "h.io/shop:v2"
    assert str(base.with_digest(DIGEST)) == f"h.io/shop@{DIGEST}"
    with pytest.raises(InvalidReference):
        base.with_tag("no tag")
    with pytest.raises(InvalidReference):
        base.with_digest("sha256:short")


HOSTS = st.from_regex(r"[a-z][a-z0-9]{0,8}(\.[a-z]{2,5}){1,2}(:[1-9][0-9]{0,3})?", fullmatch=True)
PART = r"[a-z0-9]+([._-][a-z0-9]+)?"
NAMES = st.from_regex(rf"{PART}(/{PART}){{0,3}}", fullmatch=True)
TAGS = st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)
DIGESTS = st.none() | st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)


@given(HOSTS, NAMES, TAGS, DIGESTS)
def test_what_is_printed_is_read_back(
    host: str, name: str, tag: str | None, digest: str | None
) -> None:
    made = Reference(scheme="oci", registry=host, repository=name, tag=tag, digest=digest)
    shown = str(made)
    again = parse_reference(shown)
    assert str(again) == shown
    assert again.target == made.target


@given(st.text(max_size=80))
def test_any_text_is_a_reference_or_an_error_of_ours(text: str) -> None:
    try:
        parsed = parse_reference(text)
    except InvalidReference:
        return
    assert parse_reference(str(parsed)).target == parsed.target
