"""How a branch becomes the name of its environment: readable, a DNS label, and never two branches' name.

A slug never holds two hyphens in a row: `<slug>--<service>` is the host name of a further service, so it can
be told from every slug. Which candidate an environment gets is decided by the store's unique constraint.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterator

from agent.model.names import Slug

# 40, not the 63 of RFC 1123: a container's name, `<instance>-<slug>-<service>-<n>`, is one label in Docker's DNS
# too, and Go's resolver (Traefik's) refuses labels above 63 characters.
LONGEST = 40

# Names that belong to the agent, to Traefik, to mail, or that browsers and resolvers treat in ways of their own.
# fmt: off
RESERVED = frozenset({
    "acme", "acme-challenge", "admin", "agent", "api", "autoconfig", "autodiscover", "butai", "dashboard", "ftp",
    "hooks", "imap", "isatap", "localdomain", "localhost", "mail", "mx", "ns", "ns1", "ns2", "pop", "root", "slack",
    "smtp", "status", "traefik", "wpad", "www",
})
# fmt: on

_LONGEST_LABEL = 63
_NOT_IN_A_LABEL = re.compile(r"[^a-z0-9]+")
_HASH_LENGTHS = (6, 10, 16, 24)


def slug_for(branch: str, *, project: str = "", template: str = "{branch}") -> Iterator[Slug]:
    """Every slug the branch may have, the nicest first; the same ones each time.

    The first is the branch in plain letters, unless it is reserved, too long or empty; the others end in more
    and more of a hash of project and branch. `template` may hold `{branch}` and `{project}`, as
    `projects.NAME.hostname` has it.
    """
    digest = hashlib.sha256(f"{project}\0{branch}".encode(errors="surrogatepass")).hexdigest()
    readable = _label(branch)
    # Plain replacement, the branch last: a branch may be called `{0.__class__}` or `{project}`.
    label = _label(template.replace("{project}", project).replace("{branch}", readable or "branch"))
    if readable and len(label) <= LONGEST and label not in RESERVED:
        yield Slug(label)
    for length in _HASH_LENGTHS:
        stem = label[: LONGEST - length - 1].rstrip("-")
        yield Slug(f"{stem}-{digest[:length]}" if stem else digest[:length])


def service_label(slug: Slug, service: str, *, siblings: Collection[str] = ()) -> str:
    """The DNS label of a service beside the entry service: `<slug>--<service>`, at most 63 characters.

    A hash joins it when the name is too long or when one of the `siblings` would read the same.
    """
    label = _label(service)
    full = f"{slug}--{label}"
    clash = any(other != service and _label(other) == label for other in siblings)
    if label and not clash and len(full) <= _LONGEST_LABEL:
        return full
    digest = hashlib.sha256(service.encode(errors="surrogatepass")).hexdigest()[:6]
    room = _LONGEST_LABEL - len(digest) - 1
    return f"{full[:room].rstrip('-')}-{digest}" if label else f"{slug}--{digest}"


def _label(text: str) -> str:
    """Lower-case letters, digits and single hyphens; accents go, other alphabets are left out."""
    plain = unicodedata.normalize("NFKD", text.lower())
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return _NOT_IN_A_LABEL.sub("-", plain).strip("-")
