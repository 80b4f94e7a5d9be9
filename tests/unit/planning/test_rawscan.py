"""What Compose would open is known before Compose runs, and nothing that leaves the repository gets that far."""

from __future__ import annotations

from typing import Any

import pytest

from agent.planning.rawscan import Use, default_files, locate, scan


def mentions(document: Any, base: str = "", **variables: str) -> list[tuple[str, Use, str]]:
    found = scan(document, file="compose.yaml", base=base, variables=variables)
    assert found.refusals == ()
    return [(mention.path, mention.use, mention.base) for mention in found.mentions]


def test_every_file_that_compose_would_open_is_found() -> None:
    document = {
        "include": ["sub/one.yaml", {"path": ["two.yaml", "x/three.yaml"], "project_directory": "y", "env_file": "e"}],
        "services": {
            "web": {"env_file": [".env.web", {"path": "opt.env", "required": "false"}], "label_file": "labels"},
            "api": {"extends": {"file": "base/api.yaml", "service": "api"}, "env_file": "${NAME:-def}.env"},
            "db": {"extends": "web"},
        },
    }
    assert mentions(document) == [
        ("sub/one.yaml", Use.COMPOSE, "sub"),
        ("sub/.env", Use.VALUES, ""),
        ("two.yaml", Use.COMPOSE, "y"),
        ("x/three.yaml", Use.COMPOSE, "y"),
        ("e", Use.VALUES, ""),
        ("y/.env", Use.VALUES, ""),
        (".env.web", Use.VALUES, ""),
        ("opt.env", Use.VALUES, ""),
        ("labels", Use.VALUES, ""),
        ("base/api.yaml", Use.COMPOSE, "base"),
        ("def.env", Use.VALUES, ""),
    ]


def test_paths_start_from_the_folder_of_the_file_that_names_them() -> None:
    assert mentions({"services": {"a": {"env_file": "../b.env"}}}, base="x/y") == [("x/b.env", Use.VALUES, "")]
    assert mentions({"services": {"a": {"env_file": "$D/b.env"}}}, D="d") == [("d/b.env", Use.VALUES, "")]


@pytest.mark.parametrize(
    "path", ["../x", "/etc/shadow", "~/.aws/credentials", "a/../../x", "${UP}/x", "${N:?}", "", "a\0b"]
)
@pytest.mark.parametrize("field", ["env_file", "label_file", "extends", "include"])
def test_a_path_that_leaves_the_repository_is_refused(field: str, path: str) -> None:
    service = {"extends": {"file": path, "service": "x"}} if field == "extends" else {field: path}
    document = {"include": [path], "services": {}} if field == "include" else {"services": {"web": service}}
    found = scan(document, file="compose.yaml", base="", variables={"UP": ".."})
    assert found.mentions == ()
    assert {refusal.field.partition(".")[0] for refusal in found.refusals} == {field}


@pytest.mark.parametrize(
    "remote",
    [
        "https://a.test/x.yaml",
        "oci://a.test/x:1",
        "git@a.test:x/y.git",
        "github.com/a/b",
        "a.test/x.git#main:sub",
        "OCI:x",
    ],
)
def test_remote_includes_never_reach_compose(remote: str) -> None:
    for document in (
        {"include": remote},
        {"include": [{"path": remote}]},
        {"services": {"a": {"extends": {"file": remote}}}},
    ):
        (refusal,) = scan(document, file="c.yaml", base="", variables={}).refusals
        assert "is fetched from elsewhere" in refusal.reason


@pytest.mark.parametrize("field", ["provider", "use_api_socket", "models"])
def test_what_would_run_or_hand_over_is_refused_before_compose_sees_it(field: str) -> None:
    (refusal,) = scan({"services": {"a": {field: "true"}}}, file="c.yaml", base="", variables={}).refusals
    assert (refusal.subject, refusal.field) == ("service a", field)
    assert scan({"models": {"m": {}}, "services": {}}, file="c.yaml", base="", variables={}).refusals


@pytest.mark.parametrize(
    "document", [None, "text", ["a"], {}, {"services": None}, {"services": [1]}, {"services": {"a": 1}}]
)
def test_a_document_of_any_shape_is_survived(document: Any) -> None:
    scan(document, file="c.yaml", base="", variables={})


def test_ten_thousand_services_are_refused_by_number() -> None:
    document = {"services": {f"s{n}": {"env_file": "x"} for n in range(10_000)}}
    (refusal,) = scan(document, file="c.yaml", base="", variables={}).refusals
    assert "10000 services" in refusal.reason


def test_the_default_files_are_those_that_compose_would_pick() -> None:
    files = dict.fromkeys(
        ["docker-compose.yml", "compose.yml", "docker-compose.override.yml", "a/compose.yaml"], "100644"
    )
    assert default_files(files) == ("compose.yml", "docker-compose.override.yml")
    assert default_files({**files, "compose.yaml": "100644", "compose.override.yml": "100644"}) == (
        "compose.yaml",
        "compose.override.yml",
    )
    assert default_files({"src/compose.yaml": "100644"}) == ()


def test_a_refusal_names_the_file_that_says_it_last() -> None:
    documents = {
        "compose.yaml": {"services": {"web": {"image": "a", "pid": "x"}}, "volumes": {"v": {"driver": "x"}}},
        "compose.override.yml": {"services": {"web": {"pid": "host"}}},
    }
    assert locate(documents, "service web", "pid") == "compose.override.yml"
    assert locate(documents, "service web", "image") == "compose.yaml"
    assert locate(documents, "volume v", "driver") == "compose.yaml"
    assert locate(documents, "service other", "networks.default.aliases") == "compose.yaml"
