"""Fixtures that unit tests share."""

from __future__ import annotations

from tests.support.environments.command_line import begun as begun
from tests.support.environments.command_line import site as site
