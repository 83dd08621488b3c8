"""What is left while the tests run, and which files took longest."""

from __future__ import annotations

import time
from collections import Counter, defaultdict

import pytest

from testbed.builds import batches, seconds
from testbed.tools import missing

_EVERY = 60.0
_SHOWN = 15


class Progress:
    """Tells of what is left once a minute; at the end, where the time went."""

    def __init__(self) -> None:
        self._session: pytest.Session | None = None
        self._begun = self._told = time.monotonic()
        self._done = 0
        self._spent: defaultdict[str, float] = defaultdict(float)
        self._tests: Counter[str] = Counter()

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self._session = session

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file = report.nodeid.partition("::")[0]
        self._spent[file] += report.duration
        if report.when == "teardown":
            self._done += 1
            self._tests[file] += 1
            now = time.monotonic()
            if now > self._told + _EVERY:
                self._told = now
                self._tell(now - self._begun)

    def _tell(self, elapsed: float) -> None:
        assert self._session is not None
        reporter = self._session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(self.line(elapsed))

    def line(self, elapsed: float) -> str:
        """What is left after so many seconds: tests, and the tools that are still to be built."""
        total = self._session.testscollected if self._session is not None else 0
        left = f"{self._done} of {total} tests done after {elapsed:.0f} s"
        if tools := missing():
            names = ", ".join(tool.name for tool in tools)
            left += f"; to be built: {names}, about {seconds(batches(tools))} s"
        return left

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if len(self._spent) < 2:
            return
        terminalreporter.section(f"slowest {_SHOWN} files of {len(self._spent)}")
        slowest = sorted(self._spent.items(), key=lambda each: -each[1])
        for file, spent in slowest[:_SHOWN]:
            terminalreporter.write_line(f"{spent:7.1f} s  {self._tests[file]:4} tests  {file}")
