"""What a commit object says, however odd it is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agent.adapters.git.objects import commit_of
from agent.errors import StateError
from tests.support.plans import R1

AT = datetime(2023, 11, 14, 22, 15, 20, tzinfo=UTC)
TREE = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n"
WHEN = b" 1700000120 +0900\n"
ANNA = b"author Anna Author <anna@example.com>" + WHEN + b"committer Bob <bob@example.com>" + WHEN


@pytest.mark.parametrize(
    ("data", "author", "subject"),
    [
        (TREE + ANNA + "\nGrößer\n\nBody.\n".encode(), "Anna Author", "Größer"),
        (TREE + ANNA + b"encoding ISO-8859-1\n\nGr\xf6\xdfer\n", "Anna Author", "Größer"),
        (TREE + ANNA + b"encoding klingon\n\nSmall\n", "Anna Author", "Small"),
        (TREE + ANNA + b"encoding undefined\n\nSmall\n", "Anna Author", "Small"),
        (TREE + ANNA + b"encoding a\0b\n\nSmall\n", "Anna Author", "Small"),
        (TREE + ANNA + b"encoding unicode_escape\n\n\\ud800x\n", "Anna Author", "\N{REPLACEMENT CHARACTER}" * 3 + "x"),
        (TREE + ANNA + b"\nGr\xf6\n", "Anna Author", "Gr\N{REPLACEMENT CHARACTER}"),
        (TREE + ANNA, "Anna Author", ""),
        (TREE + ANNA + b"\n\n\nAfter empty lines", "Anna Author", "After empty lines"),
        (TREE + ANNA.replace(b"Anna Author ", b"") + b"\nx\n", "anna@example.com", "x"),
        (TREE + ANNA.replace(b"Anna Author <anna@example.com>", b" <>") + b"\nx\n", "somebody", "x"),
        (TREE + ANNA + b"gpgsig ---\n author Eve <e> 1 +0000\n ---\n\nSigned\n", "Anna Author", "Signed"),
    ],
)
def test_author_first_line_and_time_of_the_commit_are_read(data: bytes, author: str, subject: str) -> None:
    found = commit_of(R1, data)
    assert (found.author, found.subject, found.committed_at) == (author, subject, AT)


@pytest.mark.parametrize("data", [b"", b"tree x\n\nno author", TREE + ANNA.replace(b"1700000120", b"soon") + b"\nx"])
def test_what_is_no_commit_is_said_to_be_unreadable(data: bytes) -> None:
    with pytest.raises(StateError, match="cannot be read"):
        commit_of(R1, data)
