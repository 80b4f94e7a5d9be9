"""The set-up must find the machine's own mirrors, in both formats of apt, since no host name is written down."""

from pathlib import Path

from tools.apt import Source, configured_sources, mirror_of, parse_deb822, parse_list, pin_text, sources_text

DEB822 = """\
Types: deb
# an old address stood here
URIs: http://mirror.test/debian/
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /keys/debian.gpg

Types: deb-src
URIs: http://sources.test/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://disabled.test/debian
Suites: bookworm
Components: main
Enabled: no
"""
LIST = """\
# deb http://comment.test/debian bookworm main
deb [arch=amd64 signed-by=/keys/x.gpg] http://mirror.test/debian bookworm main # why
deb-src http://sources.test/debian bookworm main
deb http://security.test/debian-security bookworm-security main contrib
"""


def test_deb822_entries_are_read_without_comments_disabled_ones_and_source_packages() -> None:
    assert parse_deb822(DEB822) == (
        Source(
            uri="http://mirror.test/debian",
            suites=("bookworm", "bookworm-updates"),
            components=("main", "contrib"),
            signed_by="/keys/debian.gpg",
        ),
    )


def test_one_line_entries_are_read_with_their_key() -> None:
    assert parse_list(LIST) == (
        Source("http://mirror.test/debian", ("bookworm",), ("main",), "/keys/x.gpg"),
        Source("http://security.test/debian-security", ("bookworm-security",), ("main", "contrib")),
    )


def test_the_file_that_this_set_up_wrote_is_not_taken_for_the_machines_own(tmp_path: Path) -> None:
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (folder / "butai-next.sources").write_text("Types: deb\nURIs: http://ours.test\nSuites: next\nComponents: main\n")
    (folder / "debian.sources").write_text(DEB822)
    (tmp_path / "sources.list").write_text(LIST)
    uris = [source.uri for source in configured_sources(tmp_path)]
    assert uris == ["http://mirror.test/debian", "http://security.test/debian-security", "http://mirror.test/debian"]


def test_a_mirror_must_serve_the_suite_and_its_main_component() -> None:
    other = Source("http://other.test", ("bookworm",), ("contrib",))
    right = Source("http://right.test", ("bookworm",), ("main",))
    assert mirror_of([other, right], "bookworm") == right
    assert mirror_of([other, right], "trixie") is None


def test_the_next_release_is_added_on_the_same_mirror_with_the_same_key() -> None:
    source = Source("http://mirror.test/debian", ("bookworm",), ("main",), "/keys/debian.gpg")
    assert sources_text(source, ["trixie"]) == (
        "Types: deb\nURIs: http://mirror.test/debian\nSuites: trixie\nComponents: main\nSigned-By: /keys/debian.gpg\n"
    )


def test_only_the_named_packages_are_preferred_from_the_next_release() -> None:
    text = pin_text("trixie", ["docker.io", "docker-cli"])
    assert text.index("Package: *") < text.index("Pin-Priority: 100") < text.index("Package: docker.io docker-cli")
    assert text.endswith("Pin-Priority: 600\n")
