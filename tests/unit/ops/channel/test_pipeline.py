"""A pipeline's run on a layout: whose key may move it, and what each stage waits for."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from ocistate.cli.channel.pipeline import load_pipeline
from ocistate.errors import Untrusted
from ocistate.oci.local.layout import LayoutStore
from ocistate.ops.channel.pipeline import PipelineRun
from ocistate.reference import parse_reference
from tests.support.environments.shop import Shop
from tests.support.factories.keys import make_signer


def pipeline_run(shop: Shop, root: Path) -> PipelineRun:
    spec = {
        "repository": shop.store,
        "policy": shop.policy,
        "source": {"tag": "v3"},
        "stages": [{"name": "test", "channel": "staging"}, {"name": "live", "channel": "prod"}],
    }
    value = {"apiVersion": "ocistate.dev/v1alpha1", "kind": "Pipeline"}
    path = root / "pipeline.yaml"
    path.write_text(yaml.safe_dump({**value, "metadata": {"name": "shop"}, "spec": spec}))
    pipeline, policies = load_pipeline(path)
    store = LayoutStore(parse_reference(shop.store))
    return PipelineRun(
        store=store, pipeline=pipeline, policies=policies, clock=lambda: datetime.now(UTC)
    )


def test_each_stage_has_its_own_state(shop: Shop, tmp_path: Path) -> None:
    found = asyncio.run(pipeline_run(shop, tmp_path).status())
    assert [status.state for status in found] == ["Current", "Ready"]
    assert [status.feed and status.feed.digest for status in found] == [shop.digests[2]] * 2


def test_a_key_that_is_no_channel_key_moves_nothing(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(Untrusted, match="not a channel key"):
        asyncio.run(pipeline_run(shop, tmp_path).run(make_signer()))
