"""Certificates that Traefik gets by itself: one for everything, at the entry point, with a store for each authority."""

from __future__ import annotations

from pathlib import Path

from agent import config
from agent.config import Settings
from agent.model.edge import AcmeFiles
from agent.planning import acme, edge, routing
from tests.support.plans import environment

BASE = 'domain = "staging.example.com"\n[projects.shop]\nremote = "https://git.example.com/shop.git"\n'
FILES = AcmeFiles(Path("/a"), "token")


def settings(extra: str = "") -> Settings:
    return config.parse(f'{BASE}[traefik.acme]\nemail = "ops@example.com"\nzone = "Z1"\n{extra}', Path("/nowhere"))


def test_one_certificate_for_the_domain_and_its_wildcard_is_asked_for_at_the_entry_point() -> None:
    flags = edge.static_config(settings(), FILES)
    assert [flag for flag in flags if flag.startswith("--entrypoints.websecure.http.tls")] == [
        "--entrypoints.websecure.http.tls.certresolver=acme",
        "--entrypoints.websecure.http.tls.domains[0].main=staging.example.com",
        "--entrypoints.websecure.http.tls.domains[0].sans=*.staging.example.com",
    ]
    assert "--certificatesresolvers.acme.acme.dnschallenge.provider=route53" in flags
    assert "--certificatesresolvers.acme.acme.storage=/etc/butai/acme/acme.json" in flags
    assert "--entrypoints.web.http.redirections.entrypoint.scheme=https" in flags


def test_without_acme_traefik_hears_nothing_of_it() -> None:
    plain = config.parse(BASE, Path("/nowhere"))
    assert not [flag for flag in edge.static_config(plain) if "acme" in flag or "lending" in flag]
    assert "tls" not in routing.base_routes(plain, None)


def test_the_authority_is_lets_encrypt_its_staging_or_whoever_the_settings_name() -> None:
    def server(extra: str) -> str:
        [flag] = [flag for flag in acme.flags(settings(extra), FILES) if ".caserver=" in flag]
        return flag.partition("=")[2]

    assert server("") == "https://acme-v02.api.letsencrypt.org/directory"
    assert server('ca = "staging"') == "https://acme-staging-v02.api.letsencrypt.org/directory"
    assert server('ca = "https://ca.example.com/dir"') == "https://ca.example.com/dir"


def test_each_authority_has_a_store_of_its_own() -> None:
    cas = ("production", "staging", "https://ca.example.com/dir", "https://ca.example.com/dir2")
    names = [edge.acme_folder(settings(f'ca = "{ca}"')) for ca in cas]
    assert len(set(names)) == 4
    assert all(name.isalnum() for name in names)


def test_an_authority_that_browsers_do_not_know_is_recognised_by_the_file_given() -> None:
    flag = "--certificatesresolvers.acme.acme.cacertificates"
    assert not [one for one in acme.flags(settings(), FILES) if one.startswith(flag)]
    given = acme.flags(settings(), AcmeFiles(Path("/a"), "token", "x.pem"))
    assert f"{flag}=/etc/butai/certificates/x.pem" in given


def test_traefik_knows_the_zone_and_asks_only_the_agent_for_credentials() -> None:
    given = acme.environment(settings(), FILES)
    assert given["AWS_HOSTED_ZONE_ID"] == "Z1"
    assert given["AWS_REGION"]
    assert given["AWS_EC2_METADATA_DISABLED"] == "true"
    assert given["AWS_CONTAINER_CREDENTIALS_FULL_URI"] == "http://127.0.0.1:8001/aws/credentials"
    assert given["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] == "/etc/butai/certificates/token"
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} & set(given)


def test_the_agents_own_routers_take_the_entry_points_certificate_and_stages_are_covered_by_it() -> None:
    one = settings()
    routers = routing.base_routes(one, None)["http"]["routers"]
    assert "tls" not in routers["butai:agent"]
    assert "tls" not in routers["butai:rest"]
    document = routing.render(routing.waiting_table(environment(), one), one)
    assert all(router["tls"] == {} for router in document["http"]["routers"].values())


def test_credentials_are_asked_for_at_traefiks_own_loopback_only() -> None:
    one = settings()
    router = routing.base_routes(one, None)["http"]["routers"]["butai:lending"]
    assert router == {"rule": "Path(`/aws/credentials`)", "service": "butai:agent", "entryPoints": ["lending"]}
    assert "--entrypoints.lending.address=127.0.0.1:8001" in acme.flags(one, FILES)
    spec = edge.edge_container(
        one, routes_dir=Path("/r"), certificates_dir=Path("/c"), acme_files=FILES, user="990:990"
    )
    assert {port.container_port for port in spec.ports} == {edge.HTTP_PORT, edge.HTTPS_PORT}
