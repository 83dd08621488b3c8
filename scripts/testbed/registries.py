"""Two OCI registries of independent makers, on 127.0.0.1.

    with Distribution(auth=True, tls=True) as registry:
        registry.host        # "127.0.0.1:23456"
        registry.url         # "https://127.0.0.1:23456"
        registry.ca_file     # verifies its certificate

`Distribution` (CNCF distribution) has no referrers API, so clients must use the fallback tag;
`ReferrersRegistry` (go-containerregistry) has it.
"""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

from .certs import Authority, Pair
from .process import Child, free_port
from .tokens import ISSUER, SERVICE, TokenServer
from .tools import ensure

USERNAME = "testbed"
PASSWORD = "testbed-password"  # noqa: S105 - test data for a loopback server
# bcrypt of PASSWORD at a low cost, because the registry computes it for every request.
_HTPASSWD = f"{USERNAME}:$2b$05$ocistateTestbedSalt0O.CjkZBDCg66ps.uggjUyg.o0CdOsPYuC\n"


class Registry:
    """A registry process that can be stopped, killed and started again with its content kept.

    Without `folder` everything lies in a temporary folder that goes away with the context;
    `port` is a free one unless given. `server` is the process, for faults: stop, kill, pause.
    """

    kind = "registry"
    has_referrers_api = False

    def __init__(self, folder: Path | None = None, *, port: int | None = None) -> None:
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix=f"ocistate-{self.kind}-")
            folder = Path(self._temporary.name)
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.username: str | None = None
        self.password: str | None = None
        self.ca_file: Path | None = None
        self.client: Pair | None = None
        self.server = Child(
            name=self.kind,
            command=self._command(),
            log=self.folder / "registry.log",
            ready=self._answers,
            env={"OTEL_TRACES_EXPORTER": "none"},  # distribution would look for a collector
            start_timeout=60,
            stop_timeout=5,
        )

    @property
    def host(self) -> str:
        """The host and port as in a reference: `127.0.0.1:23456`."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The base address for HTTP requests."""
        return f"{'https' if self.ca_file else 'http'}://{self.host}"

    def start(self) -> None:
        """Start the registry and wait until it answers, on the same port as before."""
        self.server.start()

    def stop(self) -> None:
        """Stop the registry; its content stays for the next start."""
        self.server.stop()

    def kill(self) -> None:
        """End the registry as a crash would."""
        self.server.kill()

    def restart(self) -> None:
        """Stop and start it with its content kept."""
        self.server.restart()

    def write_docker_config(self, folder: Path) -> Path:
        """Write a `config.json` with this registry's login into `folder` and return the folder.

        Clients take it as DOCKER_CONFIG. Without a login the file is empty but valid.
        """
        folder.mkdir(parents=True, exist_ok=True)
        auths: dict[str, Any] = {}
        if self.username is not None:
            login = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
            auths[self.host] = {"auth": login}
        path = folder / "config.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"auths": auths}))
        return folder

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _answers(self) -> bool:
        context = ssl.create_default_context(cafile=self.ca_file) if self.ca_file else None
        if context is not None and self.client is not None:
            context.load_cert_chain(self.client.certificate, self.client.key)
        try:
            with urllib.request.urlopen(f"{self.url}/v2/", timeout=2, context=context):  # noqa: S310 - our own server
                return True
        except urllib.error.HTTPError as error:
            return error.code == 401


class Distribution(Registry):
    """CNCF distribution, optionally with a login and TLS.

    With `auth` or `token`, `username` and `password` are what it or its token server accepts; with
    `tls`, `ca_file` verifies it; with `mutual` it asks for `client`, a certificate of ours.
    `notify` is a URL that it tells of every push and pull, and the bearer token it sends along.
    """

    kind = "distribution"

    def __init__(
        self,
        folder: Path | None = None,
        *,
        port: int | None = None,
        auth: bool = False,
        token: bool = False,
        tls: bool = False,
        mutual: bool = False,
        delete: bool = True,
        notify: tuple[str, str] | None = None,
    ) -> None:
        self._auth, self._token, self._delete = auth, token, delete
        self._tls, self._mutual = tls or mutual, mutual
        self.tokens: TokenServer | None = None
        self._notify = notify
        super().__init__(folder, port=port)
        if auth or token:
            self.username, self.password = USERNAME, PASSWORD
        if self._tls:
            self.ca_file = self.folder / "certs" / "ca.crt"

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        if self.tokens is not None:
            self.tokens.close()

    def _command(self) -> list[str]:
        config: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "info", "formatter": "json"},
            "storage": {
                "filesystem": {"rootdirectory": str(self.folder / "data")},
                "delete": {"enabled": self._delete},
            },
            "http": {"addr": self.host},
        }
        if self._notify is not None:
            url, token = self._notify
            endpoint: dict[str, Any] = {
                "name": "testbed",
                "url": url,
                "timeout": "5s",
                "backoff": "1s",
            }
            endpoint |= {"threshold": 3, "headers": {"Authorization": [f"Bearer {token}"]}}
            config["notifications"] = {"endpoints": [endpoint]}
        if self._auth:
            htpasswd = self.folder / "htpasswd"
            htpasswd.write_text(_HTPASSWD)
            config["auth"] = {"htpasswd": {"realm": "testbed", "path": str(htpasswd)}}
        if self._token:
            signer = Authority.make(self.folder / "tokens")
            self.tokens = TokenServer(signer, USERNAME, PASSWORD)
            config["auth"] = {
                "token": {
                    "realm": self.tokens.realm,
                    "service": SERVICE,
                    "issuer": ISSUER,
                    "rootcertbundle": str(signer.pair.certificate),
                }
            }
        if self._tls:
            authority = Authority.make(self.folder / "certs")
            names = ["IP:127.0.0.1", "DNS:localhost"]
            pair = authority.issue("registry", "CN=127.0.0.1", addresses=names)
            config["http"]["tls"] = {"certificate": str(pair.certificate), "key": str(pair.key)}
            if self._mutual:
                self.client = authority.issue("client", "CN=client")
                config["http"]["tls"]["clientcas"] = [str(authority.pair.certificate)]
        path = self.folder / "config.yml"
        path.write_text(json.dumps(config, indent=1))  # JSON is YAML
        return [str(ensure("distribution")["distribution"]), "serve", str(path)]


class ReferrersRegistry(Registry):
    """A registry with the referrers API; its login and TLS are those of a local tool: none."""

    kind = "referrers"
    has_referrers_api = True

    def _command(self) -> list[str]:
        program = ensure("referrers-registry")["referrers-registry"]
        data = self.folder / "data"
        (data / "blobs").mkdir(parents=True, exist_ok=True)
        return [str(program), "-listen", self.host, "-data", str(data)]
