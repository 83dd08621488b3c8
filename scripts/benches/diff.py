"""Comparing two artifacts of many objects that differ in few, as whole processes."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from benches.common.bare import content
from benches.common.measure import Figures, against, below, measure, median, ocistate
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
            (folder / f"{number:05}.yaml").write_text(json.dumps(objects[number]))
        measure(ocistate("push", str(folder), f"{reference}:v2"))
        compare = ocistate("diff", f"{reference}:v1", f"{reference}:v2", "-o", "json")
        runs, bare = [], []
        for _ in range(3):
            bare.append(content(registry.host, "bench", "v1", "v2"))
            runs.append(measure(compare))
    return {
        f"diff of {count} objects that differ in {_CHANGED} (floor: fetch and parse both)": against(
            median([run.wall for run in runs]),
            median([run.wall for run in bare]),
            unit="s",
            most=5,
        ),
        f"diff of {count} objects, memory": below(
            max(run.megabytes for run in runs), unit="MB", most=150 * max(count / 10_000, 1)
        ),
    }
