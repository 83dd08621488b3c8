"""The schema of a TrustPolicy's spec."""

from __future__ import annotations

from ocistate.documents import shapes
from ocistate.documents.fields import MOST_NUMBER
from ocistate.install.schemas import (
    FLAG,
    NAME,
    NUMBER,
    TEXT,
    Schema,
    described,
    enum,
    list_of,
    object_of,
    text,
)
from ocistate.signing.policy.parse import (
    MAX_CONDITION,
    MAX_ENTRIES,
    MAX_NAME,
    MAX_PEM,
    MAX_ROOT,
    MAX_THRESHOLD,
)


def policy_spec() -> Schema:
    # The agent reads policies strictly and fails closed. What the schema does not know must reach
    # it: were a misspelt field dropped here, a policy could be looser than it was written.
    kept = {"x-kubernetes-preserve-unknown-fields": True}
    called = text(MAX_NAME)
    ref = object_of({"name": NAME, "key": shapes.DATA_KEY.optional_schema}, "name", **kept)
    elsewhere = {
        "secretRef": described(ref, "A Secret in the agent's namespace; key: cosign.pub."),
        "configMapRef": described(ref, "A ConfigMap in the agent's namespace."),
        "file": described(text(4096), "A file beside this one; not in a cluster."),
    }
    key = object_of({"name": called, "pem": text(MAX_PEM), **elsewhere}, **kept)
    identity = object_of(
        {
            "name": called,
            "issuer": described(TEXT, "The OIDC issuer's URL."),
            "issuerRegExp": described(TEXT, "RE2; must match the whole of it."),
            "subject": described(TEXT, "The certificate's subject: a URL or an address."),
            "subjectRegExp": described(TEXT, "RE2; must match the whole of it."),
            "trustedRoot": described(
                object_of({"json": text(MAX_ROOT), **elsewhere}, **kept),
                "A trusted_root.json; Sigstore's public one when left out.",
            ),
        },
        **kept,
    )
    keys = list_of(key, maxItems=MAX_ENTRIES)
    identities = list_of(identity, maxItems=MAX_ENTRIES)
    attestation = object_of(
        {
            "predicateType": TEXT,
            "keys": described(keys, "Who must have made it; the policy's signers if left out."),
            "identities": identities,
            "conditions": described(
                list_of(text(MAX_CONDITION), maxItems=MAX_ENTRIES),
                "CEL over 'predicate'; all must be true.",
            ),
        },
        "predicateType",
        **kept,
    )
    number = NUMBER | {"minimum": 1, "maximum": MOST_NUMBER}
    return object_of(
        {
            "repositories": described(
                list_of(TEXT, minItems=1, maxItems=MAX_ENTRIES), "Globs over HOST/REPOSITORY."
            ),
            "keys": described(keys, "Public keys that may sign artifacts."),
            "identities": described(identities, "OIDC identities that may sign artifacts."),
            "threshold": described(
                number | {"maximum": MAX_THRESHOLD}, "How many different ones must have signed; 1."
            ),
            "attestations": described(
                list_of(attestation, maxItems=MAX_ENTRIES), "Statements that there must be."
            ),
            "channelKeys": described(keys, "Public keys that may sign channels' records."),
            "reporters": described(keys, "Clusters by name, and the keys of their reports."),
            "epoch": described(number, "The epoch of channels' records; 1."),
            "minSequence": described(number | {"minimum": 0}, "The lowest sequence; 0."),
            "allowLegacy": described(FLAG, "Count simple-signing signatures too; false."),
            "mode": enum("enforce", "warn", "off", default="enforce"),
        },
        "repositories",
        **kept,
    )
