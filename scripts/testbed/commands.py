"""What `scripts/cluster` and `scripts/registry` do."""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import TestbedError
from .background import Background
from .controlplane import PROGRAMS, ControlPlane
from .registries import Distribution, ReferrersRegistry
from .tools import cache_dir, ensure, say

SCRIPTS = Path(__file__).resolve().parent.parent


def cluster(arguments: list[str] | None = None) -> int:
    """Run `cluster up|down|status`."""
    parser = _parser("cluster", "A local Kubernetes control plane with fake nodes.")
    options = parser.parse_args(arguments)
    folder: Path = options.dir or cache_dir() / "cluster"
    background = Background(folder)

    def show(facts: dict[str, Any]) -> None:
        print(f"export KUBECONFIG={shlex.quote(facts['kubeconfig'])}")
        folder = ensure("kubectl")["kubectl"].parent
        print(f'export PATH={shlex.quote(str(folder))}:"$PATH"')

    def keep() -> None:
        shutil.rmtree(folder / "data", ignore_errors=True)  # an earlier cluster's certificates
        control_plane = ControlPlane(folder / "data")
        facts = {"kubeconfig": str(control_plane.kubeconfig), "server": control_plane.server}
        background.keep(control_plane, facts)

    def prepare() -> None:
        ensure(*PROGRAMS, "kubectl")
        say("starting the control plane (about 10 s)")

    command = [str(SCRIPTS / "cluster"), "keep", "--dir", str(folder)]
    return _run(options.action, background, command, prepare=prepare, keep=keep, show=show)


def registry(arguments: list[str] | None = None) -> int:
    """Run `registry up|down|status`."""
    parser = _parser("registry", "A local OCI registry.")
    parser.add_argument(
        "--referrers", action="store_true", help="the registry that has the referrers API"
    )
    parser.add_argument("--port", type=int, help="listen on this port (default: a free one)")
    options = parser.parse_args(arguments)
    kind = ReferrersRegistry if options.referrers else Distribution
    folder: Path = options.dir or cache_dir() / f"registry-{kind.kind}"
    background = Background(folder)

    def show(facts: dict[str, Any]) -> None:
        print(facts["host"])

    def keep() -> None:
        service = kind(folder / "data", port=options.port)
        background.keep(service, {"host": service.host})

    def prepare() -> None:
        ensure("referrers-registry" if options.referrers else "distribution")

    command = [str(SCRIPTS / "registry"), "keep", "--dir", str(folder)]
    command += ["--referrers"] if options.referrers else []
    command += ["--port", str(options.port)] if options.port else []
    return _run(options.action, background, command, prepare=prepare, keep=keep, show=show)


def _parser(name: str, text: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"scripts/{name}",
        description=f"{text} It listens on 127.0.0.1 only and runs until `down`.",
    )
    # "keep" is what `up` starts in the background; no one types it.
    parser.add_argument(
        "action", choices=["up", "down", "status", "keep"], metavar="up|down|status"
    )
    parser.add_argument("--dir", type=lambda text: Path(text).absolute(), help="where its state is")
    return parser


def _run(
    action: str,
    background: Background,
    command: list[str],
    *,
    prepare: Callable[[], None],
    keep: Callable[[], None],
    show: Callable[[dict[str, Any]], None],
) -> int:
    try:
        if action == "keep":
            keep()
        elif action == "down":
            say("stopped" if background.down() else "nothing was running")
        elif action == "up":
            if background.running() is None:
                prepare()  # builds show their progress here, not in the background's log
            show(background.up([sys.executable, *command]))
        else:
            facts = background.running()
            if facts is None:
                say("not running")
                return 1
            show(facts)
            say(f"running; its files are in {background.folder}")
    except TestbedError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
