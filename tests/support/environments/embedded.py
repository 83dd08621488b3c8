"""An agent without a cluster: a registry in a folder, a Stack, and its target."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.support.assertions.agent import condition
from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent_process import AgentProcess
from tests.support.factories.keys import Key
from tests.support.factories.stacks import Publisher, config_map, policy, stack


class Site:
    """A folder with Stacks, a registry, a state folder and a target."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.key = Key.make()
        self.publisher = Publisher(f"layout:{root / 'registry'}", self.key)
        self.stacks = root / "stacks.yaml"
        self.state = root / "state"
        self.target = root / "target"
        self.arguments = ["--stacks", str(self.stacks), "--state", str(self.state)]
        self.agent = AgentProcess(self.arguments, root / "agent.log")

    def declare(self, *objects: dict[str, Any]) -> None:
        """Write the Stacks file, in one step."""
        new = self.stacks.with_suffix(".new")
        new.write_text(yaml.safe_dump_all([policy(self.key), *objects]))
        new.replace(self.stacks)

    def shop(self, name: str = "shop", **spec: Any) -> dict[str, Any]:
        return stack(name, "layout:registry", target={"directory": name}, **spec)

    def file(self, name: str = "app", stack: str = "shop") -> Path:
        return self.root / stack / f"{name}.yaml"

    def push(self, tag: str = "prod", sign: Any = True, **versions: str) -> str:
        files = {
            f"{name}.yaml": yaml.safe_dump(config_map(name, v=version)).encode()
            for name, version in versions.items()
        }
        return self.publisher.push(files, tag, sign=sign)

    def holds(self, **versions: str) -> bool:
        """Whether the target is equal to this and nothing else."""
        return self.files() == {f"{name}.yaml": version for name, version in versions.items()}

    def files(self, stack: str = "shop") -> dict[str, str]:
        found = {}
        folder = self.root / stack
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            try:
                found[path.name] = str(yaml.safe_load(path.read_bytes())["data"]["v"])
            except FileNotFoundError:
                continue
        return found

    def status(self, name: str = "shop") -> dict[str, Any]:
        path = self.state / "stacks" / f"default.{name}.json"
        if not path.exists():
            return {}
        status: dict[str, Any] = json.loads(path.read_bytes())["status"]
        return status

    def wait(self, reason: str, *, digest: str = "", name: str = "shop") -> dict[str, Any]:
        def look() -> bool:
            status = self.status(name)
            current = (status.get("current") or {}).get("digest", "")
            return condition(status, "Ready")[1] == reason and digest in ("", current)

        try:
            wait_for(f"{reason} {digest}", look)
        except AssertionError as error:
            log = self.agent.log.read_text()[-3000:] if self.agent.log.exists() else ""
            raise AssertionError(f"{error}; status {self.status(name)}; log {log}") from None
        return self.status(name)

    def once(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ocistate", "agent", *self.arguments, "--once", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=240)

    def logged(self, text: str) -> bool:
        return any(text in line["message"] for line in self.agent.lines())
