"""``ocistate install``: everything a cluster needs to run the agent, as YAML."""

from __future__ import annotations

import click

from ocistate import __version__
from ocistate.cli.common.output import output_option
from ocistate.cli.setup.options import cluster_of, cluster_options
from ocistate.errors import UsageError
from ocistate.reach import parse_allowed


@click.command("install")
@click.option("-n", "--namespace", default="ocistate-system", show_default=True)
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
    help="What Stacks in this namespace may change: all of it (admin), or everything.",
)
@click.option(
    "--service-account",
    "accounts",
    multiple=True,
    metavar="NAME",
    help="One more name of service accounts that Stacks may write as; repeatable.",
)
@click.option("--read-secrets", is_flag=True, help="Let the agent list Secrets, to prune them.")
@click.option(
    "--policy-secret",
    "policy_secrets",
    multiple=True,
    metavar="NAME",
    help="A Secret in the agent's namespace that TrustPolicies take keys from; repeatable.",
)
@click.option(
    "--replicas", type=click.IntRange(1), default=1, show_default=True, help="Agents to run."
)
@click.option(
    "--shards",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    help="Leases by which they share the Stacks; with 1 all but one stand by.",
)
@cluster_options("Sign reports as this cluster, with the key in the Secret ocistate-report.")
@click.option(
    "--allow-hosts",
    multiple=True,
    metavar="HOST|NETWORK",
    help="Let Stacks reach it, whatever else the agent denies them; repeatable.",
)
@click.option("--deny-private", is_flag=True, help="Deny Stacks all private networks, too.")
@click.option("--webhooks", is_flag=True, help="A Service for registries' webhooks.")
@click.option(
    "--namespaced",
    is_flag=True,
    help="An agent for this one namespace, without any right outside of it.",
)
@click.option(
    "--crds-only",
    is_flag=True,
    help="Only what --namespaced needs beforehand: the definitions, and the roles to use them.",
)
@output_option("yaml", "json")
def install_command(
    namespace: str,
    image: str,
    applier: str,
    accounts: tuple[str, ...],
    read_secrets: bool,
    policy_secrets: tuple[str, ...],
    replicas: int,
    shards: int,
    cluster: str,
    cluster_labels: tuple[str, ...],
    allow_hosts: tuple[str, ...],
    deny_private: bool,
    webhooks: bool,
    namespaced: bool,
    crds_only: bool,
    output: str,
) -> None:
    """Print everything a cluster needs to run the agent; pipe it into kubectl apply.

    Namespace, CRDs, least-privilege RBAC and a Deployment under the restricted Pod Security
    Standard. The agent may read, and act as the service accounts named ocistate-applier; each
    team's own decides what that team's Stacks may change.
    """
    from ocistate.install.crds import crds
    from ocistate.install.manifests import (
        applier_objects,
        install_objects,
        namespaced_objects,
        user_roles,
    )

    if namespaced and (applier == "cluster-admin" or policy_secrets):
        given = "--policy-secret" if policy_secrets else "--applier cluster-admin"
        raise UsageError(
            f"{given} has no meaning with --namespaced",
            hint="use --applier admin, and the keys themselves in the ConfigMap ocistate-trust",
        )
    parse_allowed(allow_hosts)
    arguments = [f"--allow-hosts={host}" for host in allow_hosts]
    arguments += ["--deny-private"] if deny_private else []
    known = cluster_of(cluster, cluster_labels)
    if crds_only:
        objects = [*crds(), *user_roles()]
    elif namespaced:
        objects = namespaced_objects(
            namespace=namespace,
            image=image,
            appliers=accounts,
            read_secrets=read_secrets,
            replicas=replicas,
            shards=shards,
            webhooks=webhooks,
            cluster=known,
            arguments=arguments,
        )
    else:
        objects = install_objects(
            namespace=namespace,
            image=image,
            appliers=accounts,
            cluster_admin=applier == "cluster-admin",
            read_secrets=read_secrets,
            policy_secrets=policy_secrets,
            replicas=replicas,
            shards=shards,
            webhooks=webhooks,
            cluster=known,
            arguments=arguments,
        )
    if applier == "admin" and not crds_only:
        objects = [*objects[:-1], *applier_objects(namespace, "admin"), objects[-1]]
    if output == "json":
        from ocistate.cli.common.output import emit

        emit({"apiVersion": "v1", "kind": "List", "items": objects}, "json")
        return
    import yaml

    class Dumper(yaml.CSafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    click.echo(
        yaml.dump_all(objects, Dumper=Dumper, sort_keys=False, explicit_start=True), nl=False
    )
