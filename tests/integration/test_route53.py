"""Route53 through real boto3: odd names and pages, every refusal in words, and a record that follows its instance."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from agent import config
from agent.adapters.aws import HostKeys, Route53
from agent.adapters.imds import Imds
from agent.adapters.nameservers import NameServers
from agent.daemon import Daemon
from agent.errors import AgentError, OutsideError, RequestError
from agent.model.aws import AwsKeys
from agent.model.dns import Record
from tests.support import awsd
from tests.support.dnsworld import DOMAIN, SETTINGS, build_world
from tests.support.imdsd import imdsd
from tests.support.named import named
from tests.support.oneapp import client_of

WILD = f"*.{DOMAIN}"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with awsd.moto() as running:
        yield running


@pytest.fixture
def zone(url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    awsd.use(monkeypatch, url)
    made = awsd.client(url).create_hosted_zone(Name="example.com", CallerReference=str(uuid.uuid4()))
    return made["HostedZone"]["Id"].rpartition("/")[2]


def role_of(key_id: str) -> dict[str, str]:
    """What the metadata service tells of an instance with a role."""
    lent = {"Code": "Success", "AccessKeyId": key_id, "SecretAccessKey": "testing", "Token": "testing"}
    return {
        "iam/security-credentials/": "butai",
        "iam/security-credentials/butai": json.dumps({**lent, "Expiration": "2099-01-01T00:00:00Z"}),
    }


def put(url: str, zone: str, *records: dict[str, object]) -> None:
    changes = [{"Action": "UPSERT", "ResourceRecordSet": {"TTL": 60, **record}} for record in records]
    awsd.client(url).change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})  # type: ignore[typeddict-item]


def test_names_come_in_lower_case_decoded_and_without_the_final_dot(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    route53 = Route53()
    target = {"DNSName": "LB.example.net.", "HostedZoneId": "Z2", "EvaluateTargetHealth": False}
    record = {"Name": "\\052.Staging.Example.COM.", "Type": "A", "AliasTarget": target}  # as moto never writes it
    page = {"IsTruncated": False, "ResourceRecordSets": [record]}
    monkeypatch.setattr(route53._client(), "list_resource_record_sets", lambda **_: page)
    [found] = route53.read(zone, [WILD]).records
    assert found.alias is not None
    assert (found.name, found.alias.target) == (WILD, "lb.example.net")


def test_everything_at_a_name_is_read_however_many_pages_it_takes(
    url: str, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.adapters.aws.zone._PAGE", "2")
    values = {"A": "10.0.0.1", "AAAA": "::1", "CAA": '0 issue "ca"', "MX": "10 mail", "TXT": '"x"'}
    put(
        url,
        zone,
        *({"Name": DOMAIN, "Type": type_, "ResourceRecords": [{"Value": value}]} for type_, value in values.items()),
    )
    put(url, zone, {"Name": WILD, "Type": "A", "ResourceRecords": [{"Value": "10.0.0.2"}]})
    found = Route53().read(zone, [DOMAIN]).records
    assert {record.type: record.values for record in found} == {type_: (value,) for type_, value in values.items()}


REFUSALS = {
    "AccessDenied": (403, AgentError, "aws-access-denied", "docs/how-to/dns.md"),
    "InvalidClientTokenId": (403, RequestError, "aws-credentials-refused", "role"),
    "ExpiredToken": (403, RequestError, "aws-credentials-refused", "clock"),
    "NoSuchHostedZone": (404, RequestError, "dns-no-such-zone", "dns.zone"),
    "Throttling": (400, OutsideError, "aws-throttled", "tried again"),
    "PriorRequestNotComplete": (400, OutsideError, "dns-busy", "tried again"),
    "InvalidChangeBatch": (400, RequestError, "dns-change-refused", "butai dns"),
    "InternalFailure": (500, OutsideError, "aws-error", "tried again"),
}


@pytest.mark.parametrize("said", REFUSALS)
def test_each_refusal_has_words_a_code_and_something_to_do(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    status, family, code, hint = REFUSALS[said]
    with awsd.refusing(status, said) as url:
        awsd.use(monkeypatch, url)
        with pytest.raises(family) as caught:
            Route53(attempts=1).read("Z1", [DOMAIN])
    assert caught.value.code == code
    assert hint in caught.value.hint
    assert caught.value.message.endswith((".", "No."))
    assert "botocore" not in str(caught.value)


def test_a_call_that_is_throttled_is_repeated_before_it_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with awsd.refusing(400, "Throttling", "Rate exceeded") as url:
        awsd.use(monkeypatch, url)
        route53 = Route53(attempts=2)
        told: list[object] = []
        route53._client().meta.events.register("before-send.route53.*", lambda **sent: told.append(sent))
        with pytest.raises(OutsideError):
            route53.in_sync("C1")
    assert len(told) == 2


def test_without_credentials_it_says_where_they_should_come_from_and_takes_them_when_they_come(
    url: str, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    route53 = Route53()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(RequestError) as caught:
        route53.read(zone, [DOMAIN])
    assert (caught.value.code, caught.value.http_status) == ("aws-no-credentials", 409)
    assert "role" in caught.value.hint
    awsd.use(monkeypatch, url)
    assert route53.read(zone, [DOMAIN]).name == "example.com"


def test_the_role_of_the_instance_is_enough(url: str, zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name)
    with imdsd() as instance:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", instance.url)
        instance.data = role_of("testing")
        assert Route53().read(zone, [DOMAIN]).name == "example.com"


def test_the_keys_of_the_instances_role_can_be_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    awsd.use(monkeypatch, "http://127.0.0.1:1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name)
    with imdsd() as instance:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", instance.url)
        instance.data = role_of("its-key")
        assert HostKeys().current("Z1") == AwsKeys("its-key", "testing", "testing")


def test_without_credentials_there_are_none_to_lend(monkeypatch: pytest.MonkeyPatch) -> None:
    awsd.use(monkeypatch, "http://127.0.0.1:1")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    keys = HostKeys()
    with pytest.raises(RequestError) as caught:
        keys.current("Z1")
    assert caught.value.code == "aws-no-credentials"
    awsd.use(monkeypatch, "http://127.0.0.1:1")
    assert keys.current("Z1") == AwsKeys("testing", "testing")


def test_an_amazon_that_is_away_is_nobodys_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    awsd.use(monkeypatch, "http://127.0.0.1:1")
    with pytest.raises(OutsideError) as caught:
        Route53(attempts=1).read("Z1", [DOMAIN])
    assert caught.value.code == "aws-unreachable"


def test_the_agent_imports_nothing_of_amazons_before_it_is_needed() -> None:
    code = "import sys, agent.daemon; print(*{'boto3', 'botocore', 'dns'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_the_record_follows_an_instance_with_a_new_address(url: str, zone: str, tmp_path: Path) -> None:
    with imdsd() as instance, named() as server:
        world = build_world(
            tmp_path,
            SETTINGS.replace("Z1", zone),
            zones=Route53(),
            instance=Imds(instance.url),
            servers=ByHand(server.port),
        )
        instance.data = {"public-ipv4": "203.0.113.10"}
        world.round()
        instance.data = {"public-ipv4": "198.51.100.7"}
        world.round()
        records = Route53().read(zone, (DOMAIN, WILD)).records
        assert set(records) == {Record(name, "A", 60, ("198.51.100.7",)) for name in (DOMAIN, WILD)}
        look = world.keeper.look()
        assert (look.problem, look.changes, set(look.observed)) == (None, (), set(records))
        server.answers = {(DOMAIN, "A"): ("198.51.100.7",), (f"butai.{DOMAIN}", "A"): ("203.0.113.10",)}
        verdicts = {(answer.name, answer.problem) for answer in world.keeper.check()}
        assert verdicts == {(DOMAIN, ""), (f"butai.{DOMAIN}", "should be 198.51.100.7")}
        world.store.close()


def test_the_agent_as_it_is_put_together_makes_the_records(
    url: str, zone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "state").mkdir()
    text = SETTINGS.replace("Z1", zone) + '[docker]\nhost = "unix:///nowhere"\n[server]\nsocket = "agent.sock"'
    settings = config.parse(f'state_dir = "state"\n{text}', tmp_path)
    with imdsd() as instance:
        instance.data = {"public-ipv4": "203.0.113.10"}
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", instance.url)
        daemon = Daemon(tmp_path / "config.toml", settings)
        assert settings.dns is not None
        assert 270 <= daemon.parts.dns.round(settings.dns, Event()) <= 330
        look = daemon.parts.dns.look()
    assert (look.owner, look.changes, look.problem) == (look.us, (), None)
    assert {str(one) for one in look.observed} == {f"{name} A 203.0.113.10, 60 s" for name in (DOMAIN, WILD)}
    daemon.parts.store.close()
    daemon.parts.git.close()


def test_the_agent_as_it_is_put_together_lends_its_keys_to_traefik(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    awsd.use(monkeypatch, "http://127.0.0.1:1")
    (tmp_path / "state" / "edge" / "certificates").mkdir(parents=True)
    (tmp_path / "state" / "edge" / "certificates" / "aws-token").write_text("what Traefik says")
    text = f'{SETTINGS}[docker]\nhost = "unix:///nowhere"\n[traefik.acme]\nemail = "ops@example.com"'
    daemon = Daemon(tmp_path / "config.toml", config.parse(f'state_dir = "state"\n{text}', tmp_path))
    headers = {"Host": "127.0.0.1:8001", "Authorization": "what Traefik says"}
    answer = client_of(daemon.parts.deps).get("/aws/credentials", headers=headers)
    assert (answer.status_code, answer.get_json()["AccessKeyId"]) == (200, "testing")
    daemon.parts.store.close()
    daemon.parts.git.close()


class ByHand(NameServers):
    """Every name server of the zone is the stand-in: those that moto names are nobody's."""

    def ask(self, server: str, name: str, type_: str) -> tuple[str, ...]:
        return super().ask("127.0.0.1", name, type_)
