"""Fuzz one target with Atheris, guided by coverage: ``python -m tests.fuzz.guided TARGET OPTION…``.

The options are libFuzzer's; scripts/fuzz gives them.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["ocistate"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Run until the time is over, or something is found."""
    program, name, *options = sys.argv
    atheris.Setup([program, *options], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
