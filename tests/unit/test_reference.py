"""References: every form, and every bad form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocistate.errors import ConfigError, InvalidReference, NoPolicy
from ocistate.reference import Reference, parse_reference
from ocistate.signing.policy.globs import matches
from ocistate.signing.policy.model import TrustPolicy
from ocistate.signing.policy.select import select_policy

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
    assert (parsed.scheme, parsed.repository, parsed.tag) == ("archive", "shop.tar", "v1")
    assert str(parsed) == "archive:shop.tar:v1"


@pytest.mark.parametrize(
    ("text", "folder", "tag", "digest"),
    [
        ("layout:store", "store", None, None),
        ("layout:./store:v1", "store", "v1", None),
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


# One place, one spelling: what is written in other ways must not escape what is said of it.

SPELLINGS = [
    ("h.io/shop", ["H.IO/shop", "h.io:443/shop", "h.io:0443/shop", "h.io./shop", "h.io.:443/shop",
                   "oci://h.io/shop", "oci://H.io:000443/shop"]),
    ("h.io:5000/shop", ["h.io:05000/shop", "h.io.:5000/shop", "H.io:005000/shop"]),
    ("docker.io/library/nginx", ["docker.io/nginx", "index.docker.io/nginx", "Docker.io:443/nginx",
                                 "registry-1.docker.io/library/nginx", "docker.io./nginx",
                                 "registry.hub.docker.com/library/nginx"]),
    ("docker.io/team/app", ["index.docker.io/team/app", "registry-1.docker.io:443/team/app"]),
    ("[::1]:5000/shop", ["[0:0:0:0:0:0:0:1]:5000/shop", "[::0001]:05000/shop"]),
    ("10.1.2.3:5000/shop", ["[::ffff:10.1.2.3]:5000/shop", "[::FFFF:a01:203]:5000/shop"]),
    ("layout:/srv/store", ["layout:///srv/store", "layout://srv/store", "layout:/srv//store",
                           "layout:/srv/./store", "layout:/srv/x/../store", "layout:/srv/store/",
                           "layout:/../srv/store"]),
    ("layout:store", ["layout:./store", "layout:store/.", "layout:x/../store", "layout:.//store"]),
    ("archive:/srv/a.tar", ["archive:///srv/a.tar", "archive:/srv/./a.tar"]),
    ("registry:443/shop", ["registry:0443/shop", "Registry.:443/shop"]),
    ("localhost/shop", ["LOCALHOST/shop", "localhost:443/shop", "localhost.:443/shop"]),
]  # fmt: skip


@pytest.mark.parametrize(("place", "others"), SPELLINGS)
def test_every_spelling_of_a_place_is_one_reference(place: str, others: list[str]) -> None:
    for suffix in ("", ":v1", f"@{DIGEST}"):
        assert str(parse_reference(place + suffix)) == place + suffix
        for other in others:
            if not (suffix == ":v1" and other.endswith("/")):
                assert parse_reference(other + suffix) == parse_reference(place + suffix)


@pytest.mark.parametrize(
    "text",
    [
        "127.1:5000/x",
        "0177.0.0.1:5000/x",
        "2130706433:5000/x",
        "0x7f000001:5000/x",
        "127.0.0.0x1:5000/x",
        "10.1.2.3.4/x",
        "1.2.3.256/x",
        "[::1%25eth0]:5000/x",
        "[::1::]:5000/x",
        "h.io:000000/x",
        "h.io:065536/x",
        "h.io../x",
    ],
)
def test_a_host_that_resolvers_read_in_several_ways_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference):
        parse_reference(text)


def test_a_path_with_a_colon_is_read_back() -> None:
    made = parse_reference("layout:/srv/a:b/./")
    assert (made.repository, made.tag) == ("/srv/a:b", None)
    assert parse_reference(str(made)) == made


@st.composite
def spelled(draw: st.DrawFn) -> tuple[str, str]:
    """A place, and another way to write it."""
    host = draw(st.sampled_from(["h.io", "a.b.example.com", "docker.io", "10.1.2.3", "localhost"]))
    port = draw(st.sampled_from([0, 443, 5000, 65535]))
    name = draw(NAMES)
    text = f"{host}:{port}/{name}" if port else f"{host}/{name}"
    other = draw(st.sampled_from([host, host.upper(), host.title()]))
    if host == "docker.io" and port in (0, 443):
        other = draw(st.sampled_from([other, "index.docker.io", "Registry-1.Docker.io"]))
        if "/" not in name:
            name = draw(st.sampled_from([name, f"library/{name}"]))
    dot = draw(st.sampled_from(["", "."]))
    shown = port or (443 if draw(st.booleans()) else 0)
    if port == 443 and draw(st.booleans()):
        shown = 0
    zeros = "0" * draw(st.integers(0, 3))
    tail = f":{zeros}{shown}" if shown else ""
    scheme = draw(st.sampled_from(["", "oci://"]))
    return text, f"{scheme}{other}{dot}{tail}/{name}"


GLOBS = st.lists(
    st.sampled_from(
        ["**", "h.io/**", "H.io:443/*", "h.io:05000/**", "*.example.com/**", "docker.io/*",
         "docker.io/**", "docker.io/library/*", "index.docker.io/a*", "10.1.2.3:5000/**",
         "localhost/**", "h.io./*", "*:5000/**"]
    ), min_size=1, max_size=4, unique=True,
)  # fmt: skip


@given(spelled(), GLOBS)
def test_two_spellings_of_a_place_get_one_decision(pair: tuple[str, str], globs: list[str]) -> None:
    policies = [TrustPolicy(name=glob, repositories=(glob,)) for glob in globs]

    def decision(text: str) -> str:
        try:
            return select_policy(policies, parse_reference(text).name).name
        except (NoPolicy, ConfigError) as error:
            return error.message.replace(parse_reference(text).name, "")

    one, other = pair
    assert parse_reference(one) == parse_reference(other)
    assert decision(one) == decision(other)


@pytest.mark.parametrize(
    ("glob", "name", "fits"),
    [
        ("docker.io/*", "docker.io/nginx", True),
        ("docker.io/nginx", "docker.io/library/nginx", True),
        ("docker.io/**", "docker.io/nginx", True),
        ("docker.io/**", "docker.io/team/app", True),
        ("docker.io/*", "docker.io/team/app", False),
        ("h.io:0443/*", "h.io/shop", True),
        ("h.io./*", "h.io/shop", True),
        ("h.io/*", "h.io:8080/shop", False),
    ],
)
def test_a_glob_is_read_as_a_reference_is(glob: str, name: str, fits: bool) -> None:
    assert matches(glob, parse_reference(name).name) is fits
