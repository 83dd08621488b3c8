"""log, blame, bisect and query on a layout: what they print and what they refuse."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocistate.cli.main import main
from tests.support.environments.command_line import Site, write_keys


def config_map(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app"}, "data": data}


def deployment(image: str, replicas: int) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "api", "namespace": "shop"},
        "spec": {
            "replicas": replicas,
            "template": {"spec": {"containers": [{"name": "api", "image": image}]}},
        },
    }


SECRET: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "s"},
    "stringData": {"password": "hunter3"},
}
RELEASES: list[list[dict[str, Any]]] = [
    [config_map(v="1")],
    [config_map(v="1"), deployment("reg.io/api:1", 2)],
    [config_map(v="2"), deployment("reg.io/api:1", 2)],
    [config_map(v="2"), deployment("reg.io/api:2", 2)],
    [config_map(v="2"), deployment("reg.io/api:2", 5)],
    [config_map(v="3"), deployment("reg.io/api:2", 5)],
]


class Shop(Site):
    """Six releases of the channel prod, made once for all tests: none may change them."""

    def __init__(self, root: Path) -> None:
        self.root, self.store = root, f"layout:{root}/store"

    def __call__(self, *args: str, code: int = 0) -> str:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            found = main(list(args))
        self.out, self.err = out.getvalue(), err.getvalue()
        assert found == code, (found, self.out, self.err)
        return self.out

    def release(self, tag: str, objects: list[dict[str, Any]], channel: str = "prod") -> None:
        path = self.root / "app.yaml"
        path.write_text(yaml.safe_dump_all(objects))
        self("push", str(path), f"{self.store}:{tag}", "--sign", "--key", f"{self.root}/art.key",
             "--allow-secrets")  # fmt: skip
        if channel in self("channel", "list", self.store, *self.trust):
            self.promote("--tag", tag, "--reason", f"release {tag}", to=channel)
        else:
            self.sign("channel", "init", f"{self.store}:{tag}", channel, "--reason", "begin")


@pytest.fixture(scope="module", autouse=True)
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OCISTATE_PASSWORD", "")
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        patch.setenv("GITHUB_ACTOR", "alice")
        yield root


@pytest.fixture(scope="module")
def shop(environ: Path) -> Shop:
    write_keys(environ)
    shop = Shop(environ)
    shop.write_policy()
    for number, objects in enumerate(RELEASES, 1):
        shop.release(f"r{number}", objects)
    return shop


def test_log_shows_the_releases_that_changed_one_object(shop: Shop) -> None:
    rows = shop.json("log", shop.store, "prod", "--resource", "deployment/shop/api", "-p")
    assert [(row["number"], row["change"]) for row in rows] == [
        ("5", "changed"),
        ("4", "changed"),
        ("2", "added"),
    ]
    assert rows[0]["fields"] == [{"pointer": "/spec/replicas", "before": 2, "after": 5}]
    assert rows[0]["reason"] == "release r5"
    assert rows[0]["signer"] == "release"
    out = shop(
        "log", shop.store, "prod", "--resource", "Deployment.apps/shop/api", "-p", *shop.trust
    )
    assert "~ prod@4" in out
    assert '"reg.io/api:1" → "reg.io/api:2"' in out


def test_an_object_that_went_is_still_in_the_log(shop: Shop) -> None:
    for tag, objects in (("t1", [deployment("x:1", 1)]), ("t2", [config_map(v="1")])):
        shop.release(tag, objects, channel="test")
    rows = shop.json("log", shop.store, "test", "--resource", "Deployment/api")
    assert [(row["number"], row["change"]) for row in rows] == [("2", "removed"), ("1", "added")]
    shop("blame", shop.store, "test", "--resource", "Deployment/api", *shop.trust, code=11)
    assert "has no Deployment" in shop.err
    rows = shop.json("blame", shop.store, "test@1", "--resource", "Deployment/api")
    assert {row["number"] for row in rows} == {"1"}
    shop("log", shop.store, "--resource", "Deployment/api", *shop.trust, code=2)
    assert "name one of them: prod, test" in shop.err


def test_blame_tells_of_each_field_which_release_set_it(shop: Shop) -> None:
    rows = shop.json("blame", shop.store, "prod", "--resource", "Deployment/shop/api")
    found = {row["pointer"]: (row["number"], row["value"]) for row in rows}
    assert found["/spec/replicas"] == ("5", 5)
    assert found["/spec/template/spec/containers/0/image"] == ("4", "reg.io/api:2")
    assert found["/metadata/name"] == ("2", "api")
    before = shop.json("blame", shop.store, "prod@3", "--resource", "Deployment/shop/api")
    assert {row["number"] for row in before} == {"2"}
    assert "prod@5" in shop(
        "blame", shop.store, "prod", "--resource", "Deployment/api", *shop.trust
    )


@pytest.mark.parametrize(
    ("resource", "message"),
    [
        ("api", "is not the name of an object"),
        ("Deployment/", "is not the name of an object"),
        ("Deployment/other", "no release has"),
    ],
)
def test_a_wrong_object_is_refused(shop: Shop, resource: str, message: str) -> None:
    shop("log", shop.store, "prod", "--resource", resource, *shop.trust, code=3)
    assert message in shop.err


def test_bisect_finds_the_first_bad_release(shop: Shop) -> None:
    script = shop.root / "test.sh"
    script.write_text(
        f'"{sys.executable}" -m ocistate pull "$1" -o - | grep -q "api:2" && exit 1; exit 0\n'
    )
    run = ("--", "sh", str(script), "{}")
    out = json.loads(
        shop("bisect", shop.store, "prod", "--good", "1", *shop.trust, "-o", "json", *run)
    )
    assert out["firstBad"] == "prod@4"
    assert len(out["tried"]) <= 3
    assert out["digest"].endswith(shop("verify", f"{shop.store}:r4", *shop.trust, "-o", "name")
                                  .strip().rpartition("@")[2])  # fmt: skip


def test_bisect_ends_where_there_is_no_verdict(shop: Shop) -> None:
    shop("bisect", shop.store, "prod", "--good", "1", *shop.trust, "--", "sh", "-c", "exit 200",
         code=2)  # fmt: skip
    assert "no verdict" in shop.err
    shop("bisect", shop.store, "prod", "--good", "4", "--bad", "2", *shop.trust, "--", "x", code=2)
    assert "is not before" in shop.err
    shop("bisect", shop.store, "prod", "--good", "99", *shop.trust, "--", "x", code=2)
    shop("bisect", shop.store, "prod", "--good", "1", *shop.trust, "--", "no-such-command", code=2)
    assert "cannot be run" in shop.err


def test_query_finds_objects_by_kind_image_and_expression(shop: Shop) -> None:
    def names(*args: str, code: int = 0) -> list[tuple[str, ...]]:
        rows = json.loads(shop("query", shop.store, *args, *shop.trust, "-o", "json", code=code))
        return [(row["kind"], row["name"], *row["pointers"]) for row in rows]

    assert names("--kind", "Deployment") == [("Deployment", "api", "prod@6")]
    assert names("--kind", "deployment.apps", "--image", "reg.io/api")
    assert names("--image", "*/api:2", "--where", "object.spec.replicas > 4")
    assert names("--image", "*/api:1", code=1) == []
    assert names("--where", "object.spec.replicas > 5", code=1) == []
    assert names("--channel", "dev*", code=1) == []
    assert len(names("--tag", "r*", "--kind", "Deployment")) == 5
    assert names("-n", "shop", "--name", "a*") == [("Deployment", "api", "prod@6")]
    assert "Deployment.apps/shop/api" in shop("query", f"{shop.store}:r2", "--kind", "Deployment")


def test_a_secret_is_not_guessed_by_asking(shop: Shop) -> None:
    shop.release("secret", [SECRET], channel="secrets")
    for guess in ("object.stringData.password == 'hunter3'", "object.stringData.password != ''"):
        found = "!=" in guess
        shop("query", f"{shop.store}:secret", "--where", guess, "-o", "json", code=not found)
        assert bool(json.loads(shop.out)) == found


def test_a_wrong_question_is_refused(shop: Shop) -> None:
    for wrong in (("--name", "nosuch"), ("--channel", "nosuch"), ("--tag", "nosuch")):
        assert shop("query", shop.store, *wrong, "-o", "name", code=1) == ""
    shop("query", shop.store, "--where", "object.(", code=2)
    assert "is not a CEL expression" in shop.err
    shop("query", shop.store, "--channel", "a", "--tag", "b", code=2)


def test_what_was_read_once_is_not_asked_for_again(shop: Shop) -> None:
    shop.json("log", shop.store, "prod", "--resource", "Deployment/api", "-p")
    blobs = shop.root / "store" / "blobs" / "sha256"
    gone = [path for path in blobs.iterdir() if path.stat().st_size > 0]
    rows = shop.json("log", shop.store, "prod", "--resource", "Deployment/api", "-p")
    cached = shop.root / "cache" / "ocistate" / "blobs"
    assert gone
    assert rows
    # A damaged copy is noticed, and asked for again.
    for path in cached.iterdir():
        path.write_bytes(b"damaged")
    assert shop.json("log", shop.store, "prod", "--resource", "Deployment/api", "-p") == rows
