"""The shapes of the texts that people write into Stacks, policies and pipelines.

Each is stated once, and holds in the parser and in the schema of the CustomResourceDefinition: in
the syntax that RE2 and Python's engine have in common, without look-around.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from ocistate.caches import bounded_cache


@dataclass(frozen=True, slots=True)
class Shape:
    """What a text must be: ``pattern`` matches the whole of it, of at most ``most`` characters."""

    what: str
    """Ends the sentence "… is not"."""
    pattern: str
    most: int
    hint: str = ""

    def fits(self, text: str) -> bool:
        """Whether a text has the shape."""
        return len(text) <= self.most and _compiled(self.pattern).fullmatch(text) is not None

    @property
    def schema(self) -> dict[str, Any]:
        """The shape in a CustomResourceDefinition."""
        return {"type": "string", "pattern": f"^({self.pattern})$", "maxLength": self.most}

    @property
    def optional_schema(self) -> dict[str, Any]:
        """The same, or an empty text, which means as much as none."""
        return {"type": "string", "pattern": f"^({self.pattern})?$", "maxLength": self.most}


@bounded_cache("shapes", most=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_CONTROL: Final = r"\x00-\x1f\x7f"
_SEGMENT: Final = "|".join(
    (
        r"\.",
        rf"[^/.{_CONTROL}][^/{_CONTROL}]*",
        rf"\.[^/.{_CONTROL}][^/{_CONTROL}]*",
        rf"\.\.[^/{_CONTROL}]+",
    )
)
"""Of a path: anything but ``..``."""

NAME: Final = Shape(
    "a Kubernetes name",
    rf"{_LABEL}(\.{_LABEL})*",
    253,
    "lower-case letters, digits, '-' and '.', at most 253",
)
NAMESPACE: Final = Shape(
    "a namespace's name", _LABEL, 63, "lower-case letters, digits and '-', at most 63"
)
OBJECT_NAME: Final = Shape(
    "an object's name",
    "[!-$&-.0-~]+",
    253,
    "ASCII without spaces, '/' and '%', at most 253",
)
UID: Final = Shape("an object's UID", "[-A-Za-z0-9._]+", 63, "leave it out")
KIND: Final = Shape("a kind", "[A-Za-z][A-Za-z0-9]*", 63, "write Deployment, not deployments")
API_VERSION: Final = Shape(
    "an apiVersion", rf"({_LABEL}(\.{_LABEL})*/)?{_LABEL}", 317, "write apps/v1 or v1"
)
DATA_KEY: Final = Shape(
    "a key of a Secret or ConfigMap", "[-._a-zA-Z0-9]+", 253, "letters, digits, '-', '_' and '.'"
)
TAG: Final = Shape(
    "a valid tag",
    "[a-zA-Z0-9_][a-zA-Z0-9._-]*",
    128,
    "letters, digits, '_', '.' and '-', at most 128, not starting with '.' or '-'",
)
CHANNEL: Final = Shape(
    "a channel's name", _LABEL, 63, "lower-case letters, digits and '-', at most 63"
)
DIGEST: Final = Shape(
    "a digest", "sha256:[0-9a-f]{64}", 71, "write sha256: and 64 lower-case hex digits"
)
VERSIONS: Final = Shape(
    "a range of versions", "[-0-9A-Za-z.*+<>=!~^|, ]+", 256, "write ^1.2 or '>=1.2 <2'"
)
REPOSITORY: Final = Shape(
    "a repository", "[!-~]+", 512, "write oci://HOST/NAME, in ASCII and without spaces"
)
FOLDER: Final = Shape(
    "a folder inside the artifact",
    rf"/*({_SEGMENT})(/+({_SEGMENT}))*/*",
    1024,
    "write apps/web, without '..' and control characters",
)
LINE: Final = Shape("one line of text", rf"[^{_CONTROL}]+", 1024, "remove control characters")
POINTER: Final = Shape(
    "a JSON pointer",
    rf"(/([^/~{_CONTROL}]|~0|~1)*)+",
    1024,
    "write /spec/replicas; in a name '/' is ~1, and '~' is ~0",
)
DURATION: Final = Shape(
    "a duration",
    r"(?:([0-9]{1,6})h)?(?:([0-9]{1,8})m)?(?:([0-9]{1,10}(?:\.[0-9]{1,9})?)s)?(?:([0-9]{1,13})ms)?",
    40,
    "write 30s, 5m or 1h30m",
)
