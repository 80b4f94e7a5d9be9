"""Why a service cannot run twice at once, for the moment in which a new container is beside the old one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_KEEPS_DATA = re.compile(
    r"(mariadb|mysql|percona|postgres|postgis|pgvector|timescale|mongo|redis|valkey|keydb|dragonfly|rabbitmq|elasticsearch"
    r"|opensearch|cassandra|scylla|couchdb|couchbase|influxdb|neo4j|clickhouse|minio|mssql|azure-sql|cockroach|etcd|zookeeper"
    r"|kafka|redpanda|nats|solr|meilisearch|typesense|qdrant|weaviate|localstack)",
    re.IGNORECASE,
)
# Folders that a package manager or a compiler fills: old and new may share them for a moment.
_CACHES = frozenset(
    {
        "node_modules",
        "vendor",
        "venv",
        ".venv",
        ".cache",
        ".npm",
        ".yarn",
        ".pnpm-store",
        ".next",
        ".gradle",
        ".m2",
        "bundle",
    }
)


def why_in_place(name: str, services: Mapping[str, Mapping[str, Any]]) -> str:
    """Completes "it ..."; "" when old and new may overlap.

    `deploy.update_config.order` is the author's own word on it, in either direction.
    """
    service = services[name]
    order = ((service.get("deploy") or {}).get("update_config") or {}).get("order")
    if order == "start-first":
        return ""
    if order == "stop-first":
        return "asks for it with `order: stop-first`"
    mode = str(service.get("network_mode") or "")
    if mode.startswith("service:"):
        return f"shares the network of {mode.removeprefix('service:')}"
    sharing = [other for other, body in services.items() if body.get("network_mode") == f"service:{name}"]
    if sharing:
        return f"shares its network with {sharing[0]}"
    for mount in service.get("volumes") or ():
        if mount.get("read_only"):
            continue
        cache = str(mount.get("target", "")).rstrip("/").rpartition("/")[2] in _CACHES
        if mount.get("type") == "volume" and mount.get("source") and not cache:
            return f"writes the volume {mount['source']}"
        if mount.get("type") == "bind" and str(mount.get("source", "")).startswith("/"):
            return f"writes {mount['source']} on the host"
    image = str(service.get("image") or "").partition("@")[0].rpartition("/")[2]
    if not service.get("build") and _KEEPS_DATA.match(image):
        return "keeps data of its own"
    return ""
