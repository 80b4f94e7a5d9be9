"""Reads and changes records of a hosted zone with boto3, which is imported when first needed and not before.

Names come from the API with `*` as `\\052`, in whatever case somebody typed, with a final dot; they leave here
decoded, in lower case, without it. https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DomainNameFormat.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from threading import Lock
from typing import TYPE_CHECKING, Any

from agent.adapters.aws.keys import session
from agent.adapters.aws.refusals import ROUTE53, meaning
from agent.model.dns import Alias, Record, RecordChange, ZoneView

if TYPE_CHECKING:
    from mypy_boto3_route53 import Route53Client

_ATTEMPTS = 4  # of one call; whoever asked comes again later, and a person may be waiting
_CONNECT_TIMEOUT_S = 4
_READ_TIMEOUT_S = 10
_PAGE = "50"
_OCTAL = re.compile(r"\\([0-3][0-7]{2})")


class Route53:
    """Every hosted zone that the credentials of the host or its role may touch. Safe from any thread.

    Asks for no more than ListResourceRecordSets, ChangeResourceRecordSets and GetChange.
    """

    def __init__(self, *, attempts: int = _ATTEMPTS) -> None:
        self._attempts = attempts
        self._lock = Lock()
        self._made: Route53Client | None = None

    def read(self, zone: str, names: Iterable[str]) -> ZoneView:
        """The zone's own name and servers, and every record at `names`."""
        with meaning(ROUTE53, "ListResourceRecordSets", zone):
            apex = list(self._records(zone, ""))
            records = [record for name in names for record in self._records(zone, name)]
        servers = next((record.values for record in apex if record.type == "NS"), ())
        return ZoneView(apex[0].name if apex else "", tuple(map(_decoded, servers)), tuple(records))

    def change(self, zone: str, changes: Iterable[RecordChange]) -> str:
        """Make all changes or none; the id to ask `in_sync` about."""
        batch: Any = {
            "Comment": "butai",
            "Changes": [{"Action": str(one.action), "ResourceRecordSet": _encoded(one)} for one in changes],
        }
        with meaning(ROUTE53, "ChangeResourceRecordSets", zone):
            answer = self._client().change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)
        return answer["ChangeInfo"]["Id"].rpartition("/")[2]

    def in_sync(self, change: str) -> bool:
        """Whether every server of Route53 answers with the change."""
        with meaning(ROUTE53, "GetChange", change):
            return self._client().get_change(Id=change)["ChangeInfo"]["Status"] == "INSYNC"

    def _records(self, zone: str, name: str) -> Iterator[Record]:
        """The records at one name; "" is the zone's own, with which every listing begins."""
        start: Any = {"StartRecordName": f"{name}."} if name else {}
        while True:
            page = self._client().list_resource_record_sets(HostedZoneId=zone, MaxItems=_PAGE, **start)
            for record in map(_read, page["ResourceRecordSets"]):
                name = name or record.name
                if record.name != name:
                    return
                yield record
            if not page["IsTruncated"]:
                return
            following = (("Name", "NextRecordName"), ("Type", "NextRecordType"), ("Identifier", "NextRecordIdentifier"))
            start = {f"StartRecord{key}": page[field] for key, field in following if field in page}  # type: ignore[literal-required]

    def _client(self) -> Route53Client:
        from botocore.config import Config

        with self._lock:
            if self._made is None:
                found = session()
                retries: Any = {"mode": "adaptive", "total_max_attempts": self._attempts}
                self._made = found.client(
                    "route53",
                    region_name=found.region_name or "us-east-1",  # the service has none, signatures name one
                    config=Config(retries=retries, connect_timeout=_CONNECT_TIMEOUT_S, read_timeout=_READ_TIMEOUT_S),
                )
            return self._made


def _decoded(name: str) -> str:
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), name).lower().rstrip(".")


def _read(given: Any) -> Record:
    alias = given.get("AliasTarget")
    return Record(
        name=_decoded(given["Name"]),
        type=given["Type"],
        ttl_s=given.get("TTL"),
        values=tuple(sorted(one["Value"] for one in given.get("ResourceRecords", ()))),
        alias=Alias(_decoded(alias["DNSName"]), alias["HostedZoneId"], alias["EvaluateTargetHealth"])
        if alias
        else None,
        variant=given.get("SetIdentifier", ""),
    )


def _encoded(change: RecordChange) -> dict[str, Any]:
    record = change.record
    given: dict[str, Any] = {"Name": record.name, "Type": record.type}
    if record.alias is not None:
        alias = record.alias
        target = {"DNSName": alias.target, "HostedZoneId": alias.zone}
        return {**given, "AliasTarget": {**target, "EvaluateTargetHealth": alias.checks_health}}
    return {**given, "TTL": record.ttl_s, "ResourceRecords": [{"Value": value} for value in record.values]}
