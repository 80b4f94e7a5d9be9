"""What is copied into a service is its own: nothing of the host's owners, and nothing that gives rights."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import pytest

from agent.adapters.docker.copying import Owner, packed, repacked
from agent.errors import RequestError

OWNER = Owner(1234, 5678)


def entries(archive: IO[bytes]) -> dict[str, tarfile.TarInfo]:
    with archive, tarfile.open(fileobj=archive) as opened:
        return {member.name: member for member in opened}


def sent(members: Iterable[tarfile.TarInfo], *, mode: str = "w") -> IO[bytes]:
    """As it comes from a laptop, each file with as many zeros as it says."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    file.seek(0)
    return file


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.uid, info.gid, info.uname = kind, 501, 20, "anna"
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def test_everything_is_given_to_the_owner_of_its_place() -> None:
    long = "deep/" * 60 + "file"
    given = [
        member("folder", tarfile.DIRTYPE, mode=0o2775),
        member(long, size=1000),
        member("link", tarfile.SYMTYPE, linkname="folder"),
    ]
    for mode in ("w", "w:gz"):
        found = entries(repacked(sent(given, mode=mode), OWNER))
        assert list(found) == ["folder", long, "link"]
        assert {(one.uid, one.gid, one.uname, one.gname) for one in found.values()} == {(1234, 5678, "", "")}
        assert (found["folder"].mode, found[long].size, found["link"].linkname) == (0o775, 1000, "folder")


def test_devices_capabilities_and_set_uid_bits_do_not_come_along() -> None:
    capable = {"SCHILY.xattr.security.capability": "x", "uid": "0", "path": "elsewhere"}
    given = [
        member("disk", tarfile.BLKTYPE, devmajor=8),
        member("pipe", tarfile.FIFOTYPE),
        member("su", mode=0o6755, pax_headers=capable),
    ]
    found = entries(repacked(sent(given), OWNER))
    assert [one.name for one in found.values()] == ["elsewhere"]
    assert (found["elsewhere"].mode, found["elsewhere"].uid) == (0o755, 1234)
    assert not any("xattr" in name for name in found["elsewhere"].pax_headers)


@pytest.mark.parametrize("data", [b"", b"no archive", b"\x1f\x8b\x08\x00broken", bytes(100)])
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    with pytest.raises(RequestError, match="no tar archive"):
        repacked(io.BytesIO(data), OWNER)


def test_an_archive_that_broke_off_is_refused() -> None:
    whole = sent([member("file", size=100_000)]).read()
    with pytest.raises(RequestError, match="no tar archive"):
        repacked(io.BytesIO(whole[:50_000]), OWNER)


def test_a_folder_keeps_its_links_and_its_name_or_only_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_text("x")
    (tmp_path / "out").symlink_to("/etc")
    os.mkfifo(tmp_path / "pipe")
    assert list(entries(packed(tmp_path, "new", OWNER))) == ["new", "new/in", "new/in/file", "new/out"]
    assert list(entries(packed(tmp_path, ".", OWNER))) == ["in", "in/file", "out"]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"gone cannot be read: No such file"):
        packed(tmp_path / "gone", "gone", OWNER)
