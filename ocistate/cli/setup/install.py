"""``ocistate install``: everything a cluster needs to run the agent, as YAML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ocistate import __version__
from ocistate.cli.common.output import emit, output_option
from ocistate.cli.setup.options import (
    ReachOptions,
    cluster_name_options,
    reach_options,
    shards_option,
)
from ocistate.errors import UsageError

if TYPE_CHECKING:
    from ocistate.channel.rings import Cluster


@click.command("install")
@click.option(
    "-n",
    "--namespace",
    default="ocistate-system",
    show_default=True,
    help="The agent's namespace.",
)
@click.option(
    "--image",
    default=f"ghcr.io/ocistate/ocistate:{__version__}",
    show_default=True,
    help="The agent's image.",
)
@click.option(
    "--applier",
    type=click.Choice(["none", "admin", "cluster-admin"]),
    default="none",
    show_default=True,
    help="What Stacks in the agent's namespace may change: nothing, the namespace (admin), or the "
    "whole cluster (cluster-admin).",
)
@click.option(
    "--service-account",
    "accounts",
    multiple=True,
    metavar="NAME",
    help="Another service account name that Stacks may apply as; repeatable.",
)
@click.option("--read-secrets", is_flag=True, help="Let the agent list Secrets, to prune them.")
@click.option(
    "--policy-secret",
    "policy_secrets",
    multiple=True,
    metavar="NAME",
    help="A Secret in the agent's namespace with keys for TrustPolicies; repeatable.",
)
@click.option(
    "--replicas", type=click.IntRange(1), default=1, show_default=True, help="Number of agents."
)
@shards_option(
    "Leases by which the agents share the Stacks; with 1 all but one are on standby.",
    default=1,
    least=1,
)
@cluster_name_options("Sign reports as this cluster, with the key in the Secret ocistate-report.")
@reach_options
@click.option("--webhooks", is_flag=True, help="Add a Service for registries' webhooks.")
@click.option(
    "--namespaced",
    is_flag=True,
    help="Install an agent for this one namespace, without permissions outside of it.",
)
@click.option(
    "--crds-only",
    is_flag=True,
    help="Print only what --namespaced needs beforehand: the CRDs, and roles to use them.",
)
@output_option("yaml", "json")
def install_command(namespaced: bool, crds_only: bool, output: str, **choices: Any) -> None:
    """Print everything a cluster needs to run the agent; pipe it into kubectl apply.

    Namespace, CRDs, least-privilege RBAC and a Deployment under the restricted Pod Security
    Standard. The agent may read, and impersonate the service accounts named ocistate-applier; each
    team's own account decides what that team's Stacks may change.
    """
    objects = _objects(_Install(**choices), namespaced=namespaced, crds_only=crds_only)
    if output == "json":
        emit({"apiVersion": "v1", "kind": "List", "items": objects}, "json")
    else:
        _print_yaml(objects)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Install:
    """What is installed, as given by the options."""

    namespace: str
    image: str
    applier: str
    accounts: tuple[str, ...]
    read_secrets: bool
    policy_secrets: tuple[str, ...]
    replicas: int
    shards: int
    cluster: Cluster | None
    reach: ReachOptions
    webhooks: bool

    def common(self) -> dict[str, Any]:
        """What both kinds of installation take."""
        return {
            "namespace": self.namespace,
            "image": self.image,
            "appliers": self.accounts,
            "read_secrets": self.read_secrets,
            "replicas": self.replicas,
            "shards": self.shards,
            "webhooks": self.webhooks,
            "cluster": self.cluster,
            "arguments": self.reach.arguments(),
        }


def _objects(install: _Install, *, namespaced: bool, crds_only: bool) -> list[dict[str, Any]]:
    from ocistate.install.crds import crds
    from ocistate.install.manifests import (
        applier_objects,
        install_objects,
        namespaced_objects,
        user_roles,
    )

    if namespaced and (install.applier == "cluster-admin" or install.policy_secrets):
        given = "--policy-secret" if install.policy_secrets else "--applier cluster-admin"
        raise UsageError(
            f"{given} cannot be combined with --namespaced",
            hint="use --applier admin, and put the keys into the ConfigMap ocistate-trust",
        )
    install.reach.reach()  # refuses what is no host or network
    if crds_only:
        return [*crds(), *user_roles()]
    if namespaced:
        objects = namespaced_objects(**install.common())
    else:
        objects = install_objects(
            **install.common(),
            cluster_admin=install.applier == "cluster-admin",
            policy_secrets=install.policy_secrets,
        )
    if install.applier == "admin":
        objects = [*objects[:-1], *applier_objects(install.namespace, "admin"), objects[-1]]
    return objects


def _print_yaml(objects: list[dict[str, Any]]) -> None:
    import yaml

    class Dumper(yaml.CSafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    click.echo(
        yaml.dump_all(objects, Dumper=Dumper, sort_keys=False, explicit_start=True), nl=False
    )
