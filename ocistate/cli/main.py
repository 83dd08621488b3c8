"""The entry point: which commands there are, and how errors become messages and exit codes.

A command's module is imported when the command is used, so that ``--help`` and completion stay
fast.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import Any, Final

import click

from ocistate import __version__

_COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "pack": ("ocistate.cli.artifact.push:pack_command", "Pack manifests into a layout or archive."),
    "push": ("ocistate.cli.artifact.push:push_command", "Pack manifests and push the artifact."),
    "pull": ("ocistate.cli.artifact.pull:pull_command", "Fetch an artifact's files into a folder."),
    "inspect": ("ocistate.cli.artifact.inspect:inspect_command", "Show what an artifact contains."),
    "diff": ("ocistate.cli.artifact.diff:diff_command", "Show what differs between two artifacts."),
    "keygen": ("ocistate.cli.trust.keys:keygen_command", "Make a key pair for signing."),
    "public-key": (
        "ocistate.cli.trust.keys:public_key_command",
        "Print a private key's public half.",
    ),
    "sign": ("ocistate.cli.trust.sign:sign_command", "Sign an artifact."),
    "attest": (
        "ocistate.cli.trust.attest:attest_command",
        "Sign an attestation of an artifact.",
    ),
    "verify": ("ocistate.cli.trust.verify:verify_command", "Check who signed an artifact."),
    "apply": ("ocistate.cli.cluster.apply:apply_command", "Verify an artifact and apply it once."),
    "install": (
        "ocistate.cli.setup.install:install_command",
        "Print what a cluster needs for the agent.",
    ),
    "get": ("ocistate.cli.cluster.get:get_command", "Show Stacks and their state."),
    "status": (
        "ocistate.cli.cluster.status:status_command",
        "Show one Stack, and why it is not ready.",
    ),
    "tree": (
        "ocistate.cli.cluster.tree:tree_command",
        "Show a Stack's objects and what they made.",
    ),
    "events": ("ocistate.cli.cluster.tree:events_command", "Show a Stack's Events."),
    "trace": (
        "ocistate.cli.cluster.tree:trace_command",
        "Show which Stack, artifact and signer produced a live object.",
    ),
    "orphans": (
        "ocistate.cli.cluster.orphans:orphans_command",
        "Find and hand over objects whose Stack is gone.",
    ),
    "reconcile": (
        "ocistate.cli.cluster.reconcile:reconcile_command",
        "Trigger a reconciliation and wait for the result.",
    ),
    "suspend": ("ocistate.cli.cluster.reconcile:suspend_command", "Suspend reconciliation."),
    "resume": ("ocistate.cli.cluster.reconcile:resume_command", "Resume reconciliation."),
    "agent": (
        "ocistate.cli.setup.agent:agent_command",
        "Run the agent: reconcile Stacks continuously.",
    ),
    "login": ("ocistate.cli.setup.login:login_command", "Log in to a registry."),
    "logout": ("ocistate.cli.setup.login:logout_command", "Remove a registry's credentials."),
    "ls": ("ocistate.cli.artifact.ls:ls_command", "List artifacts, or a registry's repositories."),
    "copy": (
        "ocistate.cli.artifact.copy:copy_command",
        "Copy artifacts with their signatures and attestations.",
    ),
    "gc": (
        "ocistate.cli.artifact.gc:gc_command",
        "Remove old artifacts that are no longer needed.",
    ),
    "tag": ("ocistate.cli.artifact.tag:tag_command", "Add tags to an artifact."),
    "promote": ("ocistate.cli.channel.promote:promote_command", "Move a channel to an artifact."),
    "rollback": (
        "ocistate.cli.channel.rollback:rollback_command",
        "Move a channel back, and put it on hold.",
    ),
    "channel": (
        "ocistate.cli.channel.channel:channel_command",
        "Create, show, verify and refresh channels.",
    ),
    "pipeline": (
        "ocistate.cli.channel.pipeline:pipeline_command",
        "Promote through channels in order, with gates.",
    ),
    "approve": (
        "ocistate.cli.channel.approve:approve_command",
        "Approve an artifact for a channel.",
    ),
    "history": ("ocistate.cli.channel.history:history_command", "Show the releases of channels."),
    "fleet": (
        "ocistate.cli.channel.fleet:fleet_command",
        "Show the clusters that follow a channel.",
    ),
    "rollout": (
        "ocistate.cli.channel.rollout:rollout_command",
        "Roll out a release ring by ring.",
    ),
    "log": ("ocistate.cli.channel.log:log_command", "Show the releases that changed one object."),
    "blame": (
        "ocistate.cli.channel.log:blame_command",
        "Show which release set each field of an object.",
    ),
    "bisect": (
        "ocistate.cli.channel.bisect:bisect_command",
        "Find the first bad release with a command.",
    ),
    "query": ("ocistate.cli.artifact.query:query_command", "Find objects in many artifacts."),
    "completion": ("ocistate.cli.completion:completion_command", "Print a shell's completion."),
}


class CommandGroup(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        from importlib import import_module

        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if word not in _COMMANDS and not word.startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            near = get_close_matches(word, _COMMANDS, cutoff=0.7)
            meant = " or ".join(f"'ocistate {command_name}'" for command_name in near)
            ctx.fail(f"No such command {word!r}." + (f" Did you mean {meant}?" if meant else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(
                [(command_name, text) for command_name, (_, text) in _COMMANDS.items()]
            )


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="ocistate")
@click.option("--debug", is_flag=True, help="Show the traceback behind an error.")
def cli(debug: bool) -> None:
    """GitOps with an OCI registry as the state store."""


def run(args: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    code = main(sys.argv[1:] if args is None else args)
    # The process ends anyway; collecting cycles first would take 20 ms.
    gc.freeze()
    sys.exit(code)


def main(args: list[str]) -> int:
    """Run one command and return its exit code. Errors are printed to stderr."""
    from ocistate.cli.common.exits import INTERRUPTED, exit_code
    from ocistate.cli.common.output import note
    from ocistate.errors import OcistateError

    # Accepted anywhere, also after the command; but what follows "--" is another program's.
    end = args.index("--") if "--" in args else len(args)
    debug = "--debug" in args[:end] or bool(os.environ.get("OCISTATE_DEBUG"))
    args = [arg for arg in args[:end] if arg != "--debug"] + args[end:]
    try:
        code: Any = cli.main(args=args, prog_name="ocistate", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Abort:
        click.echo("Aborted.", err=True)
        return INTERRUPTED
    except KeyboardInterrupt:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output has gone; the interpreter must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OcistateError as error:
        _trace(debug)
        note(f"Error: {error.message}")
        if error.hint:
            note(f"Hint: {error.hint}")
        return exit_code(error)
    except Exception as error:
        _trace(debug)
        note(f"Error: unexpected {type(error).__name__}: {error}")
        note("Hint: this is a bug in ocistate; run again with --debug and report it")
        return 1


def _trace(debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exc()


if __name__ == "__main__":
    run()
