"""``ocistate completion``: scripts for the shells there are."""

from __future__ import annotations

import pytest

from tests.support.environments.shop import run


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_completes_the_command(shell: str) -> None:
    assert "_OCISTATE_COMPLETE" in run("completion", shell).out


def test_other_shells_are_refused() -> None:
    assert "'tcsh'" in run("completion", "tcsh", code=2).err
