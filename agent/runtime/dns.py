"""Keeps the records of our domain leading to this host, whatever happens to its address or to the zone.

A thread of its own looks at start and on a timer; nothing waits for it. Like everything here it reads, plans and acts
on what it has read just now: no address and no record is remembered from one look to the next.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Event, Lock

import structlog

from agent.config import Dns, Settings
from agent.errors import AgentError, OutsideError, RequestError
from agent.model.dns import Alias, Destination, Record, RecordChange, ZoneView
from agent.planning import dns as planning
from agent.planning.edge import agent_hostname
from agent.runtime.dns_ports import Instance, NameServers, Zones
from agent.runtime.ports import Clock
from agent.store import Store

log = structlog.get_logger(__name__)

_TICK_S = 1.0  # how late changed settings may be noticed
_SYNC_PAUSE_S = 5.0
_FIRST_RETRY_S = 5.0
_JITTER = (0.9, 1.1)


@dataclass(frozen=True, slots=True)
class DnsLook:
    """What one look found; `problem` says why some of it is empty or nothing may be changed."""

    domain: str
    zone: str
    us: str
    owner: str = ""  # whose records these are, as it is written beside them
    wanted: tuple[Record, ...] = ()
    observed: tuple[Record, ...] = ()
    changes: tuple[RecordChange, ...] = ()
    problem: AgentError | None = None


@dataclass(frozen=True, slots=True)
class DnsAnswer:
    """What one name server says of one name; `problem` in words when that is not what it should."""

    server: str
    name: str
    type: str
    found: tuple[str, ...] = ()
    problem: str = ""


class DnsKeeper:
    """`run` is a thread's main loop; the other methods may be called from any thread."""

    def __init__(
        self,
        *,
        settings: Callable[[], Settings],
        store: Store,
        clock: Clock,
        zones: Zones,
        instance: Instance,
        servers: NameServers,
        us: Callable[[], str],
    ) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._zones = zones
        self._instance = instance
        self._servers = servers
        self._us = us
        self._acting = Lock()  # from the reading to the writing
        self._due = 0.0  # when to look next
        self._pending = ""  # the last change, until every server has it
        self._complaint = ""
        self._failures = 0

    def run(self, stop: Event) -> None:
        """Look whenever it is time or the settings have changed, until told to stop."""
        before = None
        while not stop.is_set():
            settings = self._settings()
            relevant = (settings.domain, settings.dns)
            if settings.dns is not None and (relevant != before or self._clock.monotonic() >= self._due):
                self._due = self._clock.monotonic() + self._guarded_round(settings.dns, stop)
            before = relevant
            stop.wait(_TICK_S)

    def round(self, dns: Dns, stop: Event) -> float:
        """One look and what follows from it; after how many seconds to look again."""
        failure: AgentError | None = None
        try:
            self._converge(caller="agent")
            self._settle(stop)
        except AgentError as error:
            failure = error
        self._say(failure)
        self._failures = self._failures + 1 if failure else 0
        retry_s = _FIRST_RETRY_S * 2.0 ** min(self._failures - 1, 20)
        wait_s = min(dns.check_interval_s, retry_s) if failure else dns.check_interval_s
        return wait_s * random.uniform(*_JITTER)  # noqa: S311 - no secret

    def _guarded_round(self, dns: Dns, stop: Event) -> float:
        try:
            return self.round(dns, stop)
        except Exception:  # stages are served and pushed to without this: it must not end the agent
            log.exception("a look at the dns records failed by a mistake of ours")
            return dns.check_interval_s

    def look(self) -> DnsLook:
        """What is wanted and what is there, just now; changes nothing. RequestError when there is no `[dns]`."""
        dns, domain, us = self._configured(), self._settings().domain, self._us()
        found = DnsLook(domain, dns.zone, us)
        try:
            wanted = self._wanted(dns)
            found = replace(found, wanted=wanted[1:])
        except AgentError as error:
            found = replace(found, problem=error)
        try:
            view = self._view(dns)
        except AgentError as error:
            return replace(found, problem=found.problem or error)
        found = replace(found, owner=planning.owner_of(view, domain), observed=planning.leading(view, domain))
        if found.problem is not None:
            return found
        plan = planning.plan_dns(wanted, view, domain=domain, owner=us)
        return replace(found, changes=plan.changes, problem=plan.refusal)

    def adopt(self, *, caller: str) -> str:
        """Take the records over from whoever has them; one sentence for a person.

        Acts at once, as an answer "it will be tried" would be of no use to somebody who repairs something.
        """
        changes = self._converge(caller=caller, adopting=True)
        self._due = 0.0
        domain = self._settings().domain
        if not changes:
            return f"The records of {domain} are this agent's already and as they should be."
        return f"The records of {domain} are this agent's now; all name servers know within a minute or two."

    def check(self) -> tuple[DnsAnswer, ...]:
        """What each of the zone's own name servers says of the domain and of a name that the wildcard covers."""
        settings, dns = self._settings(), self._configured()
        view, wanted = self._view(dns), self._wanted(dns)
        if not view.servers:
            raise OutsideError(f"The zone {dns.zone} names no servers.", code="dns-no-servers")
        answers: list[DnsAnswer] = []
        for server in view.servers:
            answers += self._answers(server, settings, wanted)
        return tuple(answers)

    # -- acting ------------------------------------------------------------------------------------------------

    def _converge(self, *, caller: str, adopting: bool = False) -> tuple[RecordChange, ...]:
        """Read, plan, and send what is to change in one batch; the changes. Raises what forbids it."""
        with self._acting:
            dns, domain, us = self._configured(), self._settings().domain, self._us()
            view, wanted = self._view(dns), self._wanted(dns)
            plan = planning.plan_dns(wanted, view, domain=domain, owner=us, adopting=adopting)
            if plan.refusal is not None:
                raise plan.refusal
            if plan.changes:
                self._pending = self._zones.change(dns.zone, plan.changes)
                lines = [str(change) for change in plan.changes]
                log.info("dns records changed", changes=lines)
                verb = "taken over" if adopting else "changed"
                self._tell(f"records of {domain} {verb}: {'; '.join(map(str, wanted[1:]))}", caller, lines)
            return plan.changes

    def _settle(self, stop: Event) -> None:
        """Wait until every server has the last change; OutsideError when that takes too long."""
        change, dns = self._pending, self._configured()
        deadline = self._clock.monotonic() + dns.sync_timeout_s
        while change and not self._zones.in_sync(change):
            if stop.wait(_SYNC_PAUSE_S):
                return
            if self._clock.monotonic() >= deadline:
                raise OutsideError(
                    f"Route53 has not brought the last change to all of its servers within {dns.sync_timeout_s:g} s.",
                    hint="It is looked at again; `butai dns check` shows which server still answers with the old.",
                    code="dns-not-in-sync",
                )
        if self._pending == change:  # no other one was sent meanwhile
            self._pending = ""

    def _say(self, failure: AgentError | None) -> None:
        """Once for each thing that went wrong, and once when it is over: not at every look of an outage."""
        complaint = str(failure or "")
        if complaint and complaint != self._complaint:
            log.warning("dns records are not looked after", problem=complaint)
            self._tell(f"records of {self._settings().domain} not looked after: {complaint}", "agent", [])
        elif self._complaint and not complaint:
            log.info("dns records are looked after again")
            self._tell(f"records of {self._settings().domain} are looked after again", "agent", [])
        self._complaint = complaint

    def _tell(self, text: str, caller: str, lines: list[str]) -> None:
        self._store.events.add("dns", caller=caller, text=text, now=self._clock.now(), data={"lines": lines})

    # -- looking -----------------------------------------------------------------------------------------------

    def _configured(self) -> Dns:
        dns = self._settings().dns
        if dns is None:
            raise RequestError(
                "The agent looks after no DNS records.",
                hint="Add a section [dns] to the settings; docs/how-to/dns.md says how.",
                code="dns-off",
                http_status=404,
            )
        return dns

    def _view(self, dns: Dns) -> ZoneView:
        return self._zones.read(dns.zone, planning.names_of(self._settings().domain))

    def _wanted(self, dns: Dns) -> tuple[Record, ...]:
        domain, destination = self._settings().domain, self._destination(dns)
        return planning.wanted_records(domain, destination, ttl_s=dns.ttl_s, owner=self._us())

    def _destination(self, dns: Dns) -> Destination:
        if dns.load_balancer is not None:
            alias = Alias(dns.load_balancer.name, dns.load_balancer.zone)
            return Destination(alias=alias, alias_ipv6=dns.ipv6)
        if dns.addresses:
            by_version = {ipaddress.ip_address(address).version: address for address in dns.addresses}
            return Destination(ipv4=by_version.get(4, ""), ipv6=by_version.get(6, ""))
        ipv4, ipv6 = self._instance.public_ipv4() or "", (self._instance.ipv6() or "") if dns.ipv6 else ""
        if not ipv4 and not ipv6:
            raise OutsideError(
                "This instance has no public IPv4 address.",
                hint="Associate an Elastic IP with it, or write dns.addresses.",
                code="dns-no-address",
            )
        return Destination(ipv4=ipv4, ipv6=ipv6)

    def _answers(self, server: str, settings: Settings, wanted: tuple[Record, ...]) -> list[DnsAnswer]:
        """Everything asked of one server; nothing more after it has been silent once."""
        answers: list[DnsAnswer] = []
        for place, asked in ((settings.domain, settings.domain), (f"*.{settings.domain}", agent_hostname(settings))):
            for type_ in ("A", "AAAA"):
                record = next((one for one in wanted if (one.name, one.type) == (place, type_)), None)
                try:
                    found = self._servers.ask(server, asked, type_)
                except OutsideError as error:
                    return [*answers, DnsAnswer(server, asked, type_, problem=error.message)]
                if record is not None or found:
                    answers.append(DnsAnswer(server, asked, type_, found, planning.complaint(record, found)))
        return answers
