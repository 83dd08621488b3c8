"""``python -m ocistate``."""

from ocistate.cli.main import run

run()
