"""How to reach a cluster, by kubeconfig or in-cluster configuration.

lightkube reads the configuration; what it does not know is added here: several files in KUBECONFIG,
exec plugins (`exec_auth`), ``proxy-url``, ``tls-server-name`` and ``as`` (impersonation). A
`session` is made of it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ocistate.caches import bounded_cache
from ocistate.documents.reader import read_documents
from ocistate.errors import ConfigError, InvalidManifest
from ocistate.kube.exec_auth import ExecPlugin
from ocistate.reach import Reach

if TYPE_CHECKING:
    from lightkube.config.kubeconfig import SingleConfig

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
MAX_KUBECONFIG: Final = 8 * 1024 * 1024
_LISTS: Final = (("clusters", "cluster"), ("users", "user"), ("contexts", "context"))
_FILES: Final = (
    "certificate-authority",
    "client-certificate",
    "client-key",
    "tokenFile",
)
_OTHER: Final = {"client-certificate": "client-key", "client-key": "client-certificate"}
_TYPES: Final = {
    **dict.fromkeys(
        ("server", "tls-server-name", "proxy-url", "cluster", "user", "namespace"), str
    ),
    **dict.fromkeys((*_FILES, "token", "username", "password", "as", "as-uid"), str),
    "as-groups": list,
    "exec": dict,
}
"""The types of what is read here; lightkube looks at the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAccess:
    """One cluster and one user, as configured. No secret is in its ``repr``."""

    context: str
    server: str
    namespace: str
    config: SingleConfig = field(repr=False)
    plugin: ExecPlugin | None = field(default=None, repr=False)
    proxy: str | None = field(default=None, repr=False)
    tls_server_name: str = ""
    mark: str = field(default="", repr=False)
    """Another one where anything of it changed, the files that it names included."""
    impersonate: tuple[tuple[str, str], ...] = ()
    reach: Reach | None = None
    """Where its requests may go at the most; None: the configuration is this machine's own."""


def find_access(
    kubeconfig: str | Path | None = None,
    context: str | None = None,
    *,
    env: Mapping[str, str] = os.environ,
    service_account: Path = SERVICE_ACCOUNT,
) -> ClusterAccess:
    """Find out how to reach the cluster. Raises ConfigError.

    In this order: the kubeconfig given; the files in ``$KUBECONFIG``; the pod's service account,
    unless a context is asked for; ``~/.kube/config``.
    """
    if kubeconfig is not None:
        return _from_files([Path(kubeconfig).expanduser()], context)
    if env.get("KUBECONFIG"):
        files = [Path(each).expanduser() for each in env["KUBECONFIG"].split(os.pathsep) if each]
        return _from_files([each for each in files if each.exists()] or files[:1], context)
    if context is None and "KUBERNETES_SERVICE_HOST" in env and service_account.is_dir():
        return _in_cluster(service_account)
    return _from_files([Path("~/.kube/config").expanduser()], context)


def access_from_text(
    text: str, context: str | None = None, *, reach: Reach | None = None
) -> ClusterAccess:
    """Read a kubeconfig given as text, as a Secret holds it. Raises ConfigError.

    It may name no files and no exec plugin: the text is not this machine's. Its server and proxy
    are plain addresses, and no request to them leaves ``reach``.
    """
    document = _parse(text, "kubeconfig")
    for user in document.get("users") or ():
        entry = user.get("user") or {}
        if "exec" in entry or any(name in entry for name in _FILES):
            raise ConfigError(
                f"kubeconfig: user {user.get('name')!r} names a command or a file of this machine",
                hint="use a kubeconfig with the token, certificate and key in it",
            )
    for cluster in document.get("clusters") or ():
        if any(name in (cluster.get("cluster") or {}) for name in _FILES):
            raise ConfigError(f"kubeconfig: cluster {cluster.get('name')!r} names a file")
    access = _select(document, context, Path("/nonexistent"), "kubeconfig")
    for name, url in (("server", access.server), ("proxy-url", access.proxy)):
        if url and not _is_plain(url):
            raise ConfigError(
                f"kubeconfig: the {name} of context {access.context!r} is no plain address",
                hint="write https://HOST:PORT, with a path where a proxy needs one",
            )
    return replace(access, reach=reach)


_PLAIN_URL: Final = re.compile(
    r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?((/[A-Za-z0-9._~:-]+)*)/?"
)


def _is_plain(url: str) -> bool:
    """Whether a URL has a host and a simple path, and nothing that others may read otherwise."""
    match = _PLAIN_URL.fullmatch(url)
    return match is not None and not {".", ".."} & set(match[3].split("/"))


def _in_cluster(folder: Path) -> ClusterAccess:
    from lightkube.config.kubeconfig import KubeConfig
    from lightkube.core.exceptions import ConfigError as LightkubeConfigError

    try:
        config = KubeConfig.from_service_account(folder).get()
    except (LightkubeConfigError, KeyError, OSError) as error:
        raise ConfigError(f"the pod's service account cannot be used: {error}") from None
    assert config is not None
    return ClusterAccess(
        context="in-cluster",
        server=config.cluster.server,
        namespace=config.namespace,
        config=config,
        mark=_mark("in-cluster", {"certificate-authority": str(folder / "ca.crt")}),
    )


def _from_files(files: list[Path], context: str | None) -> ClusterAccess:
    files = [path.absolute() for path in files]
    document = _merge(tuple(files), tuple(_stamp(path) for path in files))
    return _select(document, context, files[0].parent, f"kubeconfig {files[0]}")


def _stamp(path: Path) -> tuple[int, ...]:
    """What tells that a file was changed or replaced; empty for one that is not there."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return (status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size)


@bounded_cache("kubeconfigs", most=8)
def _merge(files: tuple[Path, ...], stamps: tuple[tuple[int, ...], ...]) -> dict[str, Any]:
    """One kubeconfig of several, read once for each state of them: an agent asks often."""
    merged: dict[str, Any] = {plural: [] for plural, _ in _LISTS}
    for path in files:
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            words = error.strerror if isinstance(error, OSError) else "not text"
            raise ConfigError(
                f"kubeconfig {path}: {words}",
                hint="name one with --kubeconfig or KUBECONFIG",
            ) from None
        document = _parse(text, f"kubeconfig {path}")
        merged["current-context"] = merged.get("current-context") or document.get("current-context")
        for plural, singular in _LISTS:
            known = {each["name"] for each in merged[plural]}
            for each in document.get(plural) or ():
                entry = each.get(singular) or {}
                for name in _FILES:
                    if entry.get(name):
                        entry[name] = str(path.parent / Path(entry[name]).expanduser())
                if entry.get("exec") and "/" in str(entry["exec"].get("command", "")):
                    entry["exec"]["command"] = str(path.parent / entry["exec"]["command"])
                if each.get("name") not in known:
                    merged[plural].append({"name": each.get("name"), singular: entry})
    return merged


def _parse(text: str, where: str) -> dict[str, Any]:
    if len(text) > MAX_KUBECONFIG:
        raise ConfigError(f"{where}: longer than {MAX_KUBECONFIG} characters")
    try:
        documents = list(read_documents("", text.encode(), unique_keys=False))
    except (InvalidManifest, UnicodeEncodeError) as error:
        # The error's own text quotes the file, which holds secrets.
        line = getattr(error, "location", "").rpartition(":")[2]
        raise ConfigError(f"{where}: not YAML" + (f" at line {line}" if line else "")) from None
    document = documents[0].value if len(documents) == 1 else None
    if not isinstance(document, dict):
        raise ConfigError(f"{where}: empty, or not a mapping")
    if problem := _misshapen(document):
        raise ConfigError(f"{where}: {problem}")
    return document


def _misshapen(document: Mapping[str, Any]) -> str:
    """What is not of the type that it has in a kubeconfig; no value is quoted."""
    for plural, singular in _LISTS:
        entries = document.get(plural) or []
        if not isinstance(entries, list):
            return f"{plural} is not a list"
        for place, each in enumerate(entries):
            if not isinstance(each, dict) or not isinstance(each.get("name"), str):
                return f"{plural}[{place}] has no name"
            entry = each.get(singular)
            if entry is not None and not isinstance(entry, dict):
                return f"{plural}[{place}].{singular} is not a mapping"
            for key, value in (entry or {}).items():
                if value is not None and not isinstance(value, _TYPES.get(key, object)):
                    return f"{plural}[{place}].{singular}.{key} is of the wrong type"
    return ""


def _select(
    document: dict[str, Any], context: str | None, folder: Path, where: str
) -> ClusterAccess:
    name = context or document.get("current-context")
    known = ", ".join(str(each.get("name")) for each in document.get("contexts") or ())
    if not name:
        hint = "name one with --context" + (f": {known}" if known else "")
        raise ConfigError(f"{where}: no context is chosen", hint=hint)
    try:
        chosen = _named(document, "contexts", "context", name)
        cluster = _named(document, "clusters", "cluster", chosen.get("cluster"))
        user = _named(document, "users", "user", chosen["user"]) if chosen.get("user") else {}
    except LookupError as error:
        hint = f"it has: {known or 'none'}" if error.args[0] == "context" else ""
        message = f"{where}: no {error.args[0]} named {error.args[1]!r}"
        raise ConfigError(message, hint=hint) from None
    plugin = ExecPlugin.read(user["exec"], cluster, folder) if user.get("exec") else None
    _check_user(user, chosen.get("user"), where)
    proxy = cluster.get("proxy-url") or ""
    if proxy and not proxy.startswith(("http://", "https://")):
        raise ConfigError(
            f"{where}: cluster {chosen.get('cluster')!r}: its proxy-url is of another kind",
            hint="http:// and https:// proxies are supported",
        )
    config = _lightkube_config(chosen, cluster, user, folder, f"{where}: context {name!r}")
    return ClusterAccess(
        context=name,
        server=config.cluster.server,
        namespace=config.namespace,
        config=config,
        plugin=plugin,
        proxy=proxy or None,
        tls_server_name=cluster.get("tls-server-name") or "",
        mark=_mark(name, chosen, cluster, user),
        impersonate=_impersonation(user),
    )


def _check_user(user: Mapping[str, Any], name: Any, where: str) -> None:
    """Raises ConfigError for credentials that no server would take."""
    if user.get("auth-provider"):
        raise ConfigError(
            f"{where}: auth-provider is no longer part of Kubernetes", hint="use an exec plugin"
        )
    for kind, other in _OTHER.items():
        if not (user.get(kind) or user.get(f"{kind}-data")) and (
            user.get(other) or user.get(f"{other}-data")
        ):
            raise ConfigError(f"{where}: user {name!r} has a {other}, and no {kind}")


def _lightkube_config(
    context: Mapping[str, Any],
    cluster: Mapping[str, Any],
    user: Mapping[str, Any],
    folder: Path,
    where: str,
) -> SingleConfig:
    """The chosen entries as lightkube reads them, from a document of these alone."""
    import msgspec
    from lightkube.config.kubeconfig import KubeConfig

    name = "chosen"
    document = {
        "current-context": name,
        "contexts": [{"name": name, "context": {**context, "cluster": name, "user": name}}],
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {k: v for k, v in user.items() if k != "exec"}}],
    }
    try:
        config = KubeConfig.from_dict(document, folder / "config").get()
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}") from None
    assert config is not None
    return config


def _mark(name: str, *entries: Mapping[str, Any]) -> str:
    # A token's file is read again by itself when the token is refused.
    names = (entry.get(key) for entry in entries for key in _FILES if key != "tokenFile")
    stamps = [_stamp(Path(path)) for path in names if path]
    return hashlib.sha256(repr((name, entries, stamps)).encode()).hexdigest()


def _named(document: Mapping[str, Any], plural: str, singular: str, name: Any) -> dict[str, Any]:
    for each in document.get(plural) or ():
        if each.get("name") == name:
            return dict(each.get(singular) or {})
    raise LookupError(singular, name)


def _impersonation(user: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    headers: list[tuple[str, str]] = []
    if user.get("as"):
        headers.append(("Impersonate-User", user["as"]))
    if user.get("as-uid"):
        headers.append(("Impersonate-Uid", user["as-uid"]))
    headers.extend(("Impersonate-Group", str(group)) for group in user.get("as-groups") or ())
    return tuple(headers)
