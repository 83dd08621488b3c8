"""``ocistate pipeline check|status|run`` on a layout with two channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.environments.shop import Shop, make_shop, run


def write(shop: Shop, **spec: Any) -> Path:
    value = {
        "apiVersion": "ocistate.dev/v1alpha1",
        "kind": "Pipeline",
        "metadata": {"name": "shop"},
        "spec": {
            "repository": shop.store,
            "policy": "policy.yaml",
            "source": {"tag": "v3"},
            "stages": [{"name": "test", "channel": "staging"}, {"name": "live", "channel": "prod"}],
            **spec,
        },
    }
    path = shop.root / "pipeline.yaml"
    path.write_text(yaml.safe_dump(value))
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("pipeline"))


def test_check_reads_the_file_and_asks_no_registry(site: Shop) -> None:
    ran = run("pipeline", "check", write(site), "-o", "json")
    assert [(row["channel"], row["gates"]) for row in ran.json["stages"]] == [
        ("staging", []),
        ("prod", []),
    ]
    assert ran.json["stages"][1]["feeder"] == "staging"


def test_status_shows_what_each_stage_has_and_gets(site: Shop) -> None:
    stages = run("pipeline", "status", write(site), "-o", "json").json["stages"]
    assert [(row["state"], row["digest"]) for row in stages] == [
        ("Current", site.digests[2]),
        ("Ready", site.digests[1]),
    ]
    assert stages[1]["next"]["digest"] == site.digests[2]
    out = run("pipeline", "status", write(site)).out
    assert out.splitlines()[0].split()[0] == "STAGE"


def test_a_dry_run_moves_nothing_and_a_run_moves_what_is_ready(tmp_path: Path) -> None:
    site = make_shop(tmp_path)
    key = ("--key", site.key("chan"))
    ran = run("pipeline", "run", write(site), *key, "--dry-run")
    assert "live would be moved" in ran.err
    found = run("pipeline", "run", write(site), *key, "-o", "json").json
    assert [(row["state"], row["sequence"]) for row in found["stages"]] == [
        ("Current", 3),
        ("Moved", 3),
    ]


def test_a_stage_that_is_blocked_is_exit_code_1(site: Shop) -> None:
    path = write(site, source={"tag": "raw"})
    found = run("pipeline", "run", path, "--key", site.key("chan"), "-o", "json", code=1).json
    assert found["stages"][0]["state"] == "Blocked"
    assert "signed" in found["stages"][0]["why"]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"stages": []}, "spec.stages"),
        ({"source": {"tag": "v1", "semver": "1"}}, "spec.source"),
        ({"policy": "none.yaml"}, "none.yaml"),
        ({"extra": 1}, "spec.extra"),
    ],
)
def test_a_wrong_file_is_an_error_that_names_the_field(
    site: Shop, spec: dict[str, Any], said: str
) -> None:
    assert said in run("pipeline", "check", write(site, **spec), code=4).err


def test_a_key_that_is_no_channel_key_is_refused(site: Shop) -> None:
    run("pipeline", "run", write(site), "--key", site.key("other"), code=42)
