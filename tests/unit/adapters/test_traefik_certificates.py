"""What Traefik gets for HTTPS on disk; what it wrote itself is left alone whatever the settings say."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import config
from agent.adapters.traefik import Traefik
from agent.errors import ConfigError
from agent.model.edge import ContainerSpec, NetworkSpec
from agent.planning import edge, routing

PLAIN = 'domain = "staging.test"\nstate_dir = "state"\n[projects.shop]\nremote = "https://git.example.com/shop.git"\n'
ACME = f'{PLAIN}[traefik.acme]\nemail = "ops@example.com"\nzone = "Z1"\n'
ELSEWHERE = f'{ACME}ca = "https://ca.example.com/dir"\nca_file = "ca.pem"\n'


class Engine:
    """Remembers what was asked for."""

    spec: ContainerSpec

    def ensure_network(self, spec: NetworkSpec) -> None:
        pass

    def ensure_container(self, spec: ContainerSpec) -> None:
        self.spec = spec

    def joined(self, container: str) -> frozenset[str]:
        return frozenset()


class World:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.engine = Engine()
        self.settings = config.parse(PLAIN, directory)
        self.traefik = Traefik(lambda: self.settings, engine=self.engine, routing=routing, layout=edge)

    def ensure(self, text: str) -> None:
        """Twice, for what is not needed any more goes at the second time."""
        self.settings = config.parse(text, self.directory)
        self.traefik.ensure()
        self.traefik.ensure()

    @property
    def keys(self) -> set[str]:
        return {path.name for path in (self.directory / "state" / "edge" / "certificates").iterdir()}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_what_traefik_wrote_is_never_changed_or_removed(world: World) -> None:
    world.ensure(ACME)
    store = world.directory / "state" / "edge" / "acme" / "production" / "acme.json"
    store.write_bytes(b"account and certificate")
    store.chmod(0o600)
    before = store.stat()
    for text in (ACME, PLAIN, f'{ACME}ca = "staging"\n', PLAIN.replace("staging.test", "other.test"), ACME):
        world.ensure(text)
        assert store.read_bytes() == b"account and certificate"
    assert (store.stat().st_ino, store.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_store_that_others_may_read_is_closed_to_them(world: World) -> None:
    world.ensure(ACME)
    store = world.directory / "state" / "edge" / "acme" / "production" / "acme.json"
    store.write_bytes(b"from a backup")
    store.chmod(0o644)
    world.ensure(ACME)
    assert store.stat().st_mode & 0o777 == 0o600
    assert store.parent.stat().st_mode & 0o777 == 0o700


def test_traefiks_token_stays_the_same_and_goes_when_it_has_no_use(world: World) -> None:
    world.ensure(PLAIN)
    assert (world.keys, world.traefik.token()) == (set(), "")
    world.ensure(ACME)
    token = world.traefik.token()
    assert len(token) >= 32
    world.ensure(ACME)
    assert (world.keys, world.traefik.token()) == ({"aws-token"}, token)
    world.ensure(PLAIN)
    assert (world.keys, world.traefik.token()) == (set(), "")


def test_an_authority_of_ones_own_is_recognised_by_a_copy_of_its_certificate(world: World) -> None:
    authority = world.directory / "ca.pem"
    authority.write_text(CERTIFICATE)
    world.ensure(ELSEWHERE)
    [name] = world.keys - {"aws-token"}
    flag = f"--certificatesresolvers.acme.acme.cacertificates=/etc/butai/certificates/{name}"
    assert flag in world.engine.spec.command
    authority.write_text(f"{CERTIFICATE}\n{CERTIFICATE}")
    world.ensure(ELSEWHERE)
    assert flag not in world.engine.spec.command, "a changed file must make a Traefik that reads it"


def test_an_authoritys_file_that_holds_no_certificates_is_refused_in_words(world: World) -> None:
    (world.directory / "ca.pem").write_text("none")
    with pytest.raises(ConfigError, match=r"traefik\.acme\.ca_file: holds no certificates that can be used"):
        world.ensure(ELSEWHERE)


def test_while_there_is_no_certificate_traefik_is_made_to_try_again_every_hour(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = world.directory / "state" / "edge" / "routes" / "butai.yml"
    store = world.directory / "state" / "edge" / "acme" / "production" / "acme.json"

    def written_at(hours: float) -> bytes:
        monkeypatch.setattr("agent.adapters.traefik.certificates.time.time", lambda: hours * 3_600)
        world.ensure(ACME)
        return base.read_bytes()

    first = written_at(1)
    store.write_text('{"acme": {"Account": {}, "Certificates": null}}')
    assert written_at(1.9) == first
    assert written_at(2) != first
    store.write_text('{"acme": {"Account": {}, "Certificates": [{"domain": {"main": "other.test"}}]}}')
    assert written_at(3) != written_at(4)
    store.write_text('{"acme": {"Account": {}, "Certificates": [{"domain": {"main": "staging.test"}}]}}')
    assert written_at(5) == written_at(6)


CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBCDCBr6ADAgECAgEBMAoGCCqGSM49BAMCMA0xCzAJBgNVBAMMAmNhMCAXDTI2
MDEwMTAwMDAwMFoYDzIxMjYwMTAxMDAwMDAwWjANMQswCQYDVQQDDAJjYTBZMBMG
ByqGSM49AgEGCCqGSM49AwEHA0IABGaoNXlF0E0QsrDtcp0YJap4FmPfZ3aamWWi
3SEVXSDQ50jMLQFHQezXJri3UmzDQ+msljyfmnANzC5LuuTk2SkwCgYIKoZIzj0E
AwIDSAAwRQIhAI9Y43a6i56gDl/pGRvtwXoMBcQ7H4tEBWrexCnGvez/AiAuJDgI
ufOKOS0a4wvcG4o/TsFgRccTseVbxNfxD5pRaA==
-----END CERTIFICATE-----
"""
