"""Packing many manifests, beside one bare parse of them with PyYAML's C loader."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import yaml

from benches.common.measure import Figures, against, below, measure, median, ocistate
from benches.common.objects import mixed

_PARSE = """
import sys, yaml
from pathlib import Path
for path in sorted(Path(sys.argv[1]).iterdir()):
    for _ in yaml.load_all(path.read_bytes(), Loader=yaml.CSafeLoader):
        pass
"""


def run(size: int | None = None) -> Figures:
    """Whole processes, start-up included, over ``size`` files (10,000 by default)."""
    count = size or 10_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "manifests"
        folder.mkdir()
        total = 0
        for number, obj in enumerate(mixed(count, "bench")):
            # Comments and room, as people write them: about 1.5 kB a manifest.
            text = (
                "# " + "rendered by a template, with some words " * 16 + "\n" + yaml.safe_dump(obj)
            )
            total += (folder / f"{number:05}.yaml").write_text(text)
        parse, pack = [], []
        for turn in range(3):
            parse.append(measure([sys.executable, "-c", _PARSE, str(folder)]))
            target = f"layout:{name}/store-{turn}:v1"
            pack.append(measure(ocistate("pack", str(folder), target)))
    figures = {
        f"pack {count} manifests ({total / 1e6:.0f} MB)": against(
            median([r.wall for r in pack]), median([r.wall for r in parse]), unit="s", most=3
        ),
        f"pack {count} manifests, memory": below(
            max(r.megabytes for r in pack), unit="MB", most=400
        ),
    }
    return figures
