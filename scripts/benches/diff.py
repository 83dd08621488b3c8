"""Comparing two artifacts of many objects that differ in few, as whole processes."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import yaml

from benches.common.measure import Figures, below, measure, median, ocistate
from benches.common.objects import mixed
from testbed.registries import Distribution

_CHANGED = 10


def run(size: int | None = None) -> Figures:
    """From a registry, field by field; ``size`` objects (10,000 by default), a file each."""
    count = size or 10_000
    with tempfile.TemporaryDirectory() as name, Distribution() as registry:
        folder = Path(name) / "manifests"
        folder.mkdir()
        objects = list(mixed(count, "bench"))
        for number, obj in enumerate(objects):
            (folder / f"{number:05}.yaml").write_text(json.dumps(obj))  # JSON is YAML
        reference = f"{registry.host}/bench"
        measure(ocistate("push", str(folder), f"{reference}:v1"))
        for number in range(0, count, count // _CHANGED):
            objects[number]["metadata"]["labels"]["changed"] = "yes"
            (folder / f"{number:05}.yaml").write_text(yaml.safe_dump(objects[number]))
        measure(ocistate("push", str(folder), f"{reference}:v2"))
        runs = [
            measure(ocistate("diff", f"{reference}:v1", f"{reference}:v2", "-o", "json"))
            for _ in range(3)
        ]
    return {
        f"diff of {count} objects that differ in {_CHANGED}": below(
            median([run.wall for run in runs]), unit="s", most=max(count / 10_000, 1)
        ),
        f"diff of {count} objects, memory": below(
            max(run.megabytes for run in runs), unit="MB", most=150 * max(count / 10_000, 1)
        ),
    }
