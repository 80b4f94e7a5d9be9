"""Paths are followed through symbolic links inside the repository and never out of it."""

from __future__ import annotations

import pytest

from agent.planning.tree import Kind, Outside, Place, Tree

FILES = {
    "a/b/file": "100644",
    "a/up": "120000",
    "env": "120000",
    "root": "120000",
    "out": "120000",
    "far": "120000",
    "loop": "120000",
    "lib": "160000",
}
LINKS = {"a/up": "../a/b", "env": "a/b/file", "root": ".", "out": "/etc", "far": "a/../../x", "loop": "loop"}


@pytest.fixture
def tree() -> Tree:
    return Tree(FILES, LINKS.__getitem__)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("", Place(".", Kind.DIRECTORY)),
        ("a/b", Place("a/b", Kind.DIRECTORY)),
        ("./a//b/./file", Place("a/b/file", Kind.FILE)),
        ("a/../a/b", Place("a/b", Kind.DIRECTORY)),
        ("a/up/file", Place("a/b/file", Kind.FILE)),
        ("env", Place("a/b/file", Kind.FILE)),
        ("root/root/a", Place("a", Kind.DIRECTORY)),
        ("lib", Place("lib", Kind.DIRECTORY)),
        ("new/folder", Place("new/folder", Kind.MISSING)),
    ],
)
def test_a_path_ends_where_the_file_system_would_end(tree: Tree, path: str, place: Place) -> None:
    assert tree.find(path) == place


@pytest.mark.parametrize(
    "path", ["..", "a/../..", "/etc", "~/x", "out", "out/passwd", "far", "loop", "a/up/../../../x"]
)
def test_a_path_that_leaves_the_repository_is_refused(tree: Tree, path: str) -> None:
    with pytest.raises(Outside):
        tree.find(path)
