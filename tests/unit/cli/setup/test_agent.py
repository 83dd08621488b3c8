"""``ocistate agent``: options that do not go together, and one pass over a file of Stacks."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.environments.shop import Shop, run


@pytest.fixture(autouse=True)
def log() -> Iterator[None]:
    """The agent sets up logging for its process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--once",), "--once requires --stacks"),
        (("--stacks", "x", "--shards", "2"), "--shards requires"),
        (("--stacks", "x", "--deny-private"), "--deny-private require"),
        (("--stacks", "x", "--allow-hosts", "a.example.com"), "--allow-hosts"),
        (("--stacks", "x", "-n", "team"), "--namespace require"),
        (("--stacks", "x", "--policies", "p"), "--policies"),
        (("--report-key", "k"), "--report-key requires --cluster"),
        (("--cluster-label", "a=b"), "--cluster"),
        (("--workers", "0"), "--workers"),
        (("--lease-seconds", "1"), "--lease-seconds"),
        (("--report-every", "1"), "--report-every"),
    ],
)
def test_wrong_options_start_nothing(options: tuple[str, ...], said: str) -> None:
    assert said in run("agent", *options, code=2).err


def stack(shop: Shop, root: Path, tag: str) -> Path:
    value = {
        "apiVersion": "ocistate.dev/v1alpha1",
        "kind": "Stack",
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {
            "source": {"repository": shop.store, "tag": tag},
            "target": {"directory": str(root / "out")},
        },
    }
    path = root / "stacks.yaml"
    path.write_text(yaml.safe_dump(value) + "---\n" + Path(shop.policy).read_text())
    return path


def test_one_pass_fills_a_folder(shop: Shop, tmp_path: Path) -> None:
    options = ("--once", "--state", tmp_path / "state", "-o", "json")
    (row,) = run("agent", "--stacks", stack(shop, tmp_path, "v1"), *options).json
    assert (row["name"], row["current"]["digest"]) == ("shop", shop.digests[0])
    assert list((tmp_path / "out").rglob("*.yaml"))
    table = run("get", "--state", tmp_path / "state").out
    assert "shop" in table
    (got,) = run("get", "--state", tmp_path / "state", "-o", "json").json
    assert got["ready"]["status"] == "True"
    status = run("status", "shop", "--state", tmp_path / "state")
    assert "is ready" in status.out
    assert shop.digests[0] in status.out


def test_what_no_one_trusted_signed_is_exit_code_1(shop: Shop, tmp_path: Path) -> None:
    path = stack(shop, tmp_path, "raw")
    head, row = run(
        "agent", "--stacks", path, "--once", "--state", tmp_path / "state", code=1
    ).out.splitlines()
    assert head.split() == ["NAMESPACE", "NAME", "TARGET", "DIGEST", "READY", "REASON"]
    assert "False" in row
    assert not (tmp_path / "out").exists()
    status = run("status", "shop", "--state", tmp_path / "state", code=1)
    assert "is not ready" in status.out
