"""Archives are walked by hand and must come out as they went in."""

import io
import tarfile
import time
from collections.abc import Mapping

import pytest

from agent.adapters.docker.archive import Archive, nested
from agent.adapters.docker.bases import changes
from agent.errors import OutsideError

LONG = "/".join(["folder-with-a-long-name"] * 9) + "/file.txt"


def tar(files: Mapping[str, bytes], *, kind: int = tarfile.PAX_FORMAT, at: int = 0, mode: int = 0o644) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(content), at, mode
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return file.read() if file else b""


def held(data: bytes) -> Archive:
    pieces = [data[at : at + 700] for at in range(0, len(data), 700)]
    return Archive.receive(pieces, scratch_dir=None, check=lambda: None)


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_what_is_wanted_passes_through_untouched(kind: int) -> None:
    files = {"a.txt": b"a", "b/c.txt": b"c" * 3000, LONG: b"long", "empty": b"", "naïve": b"u"}
    with held(tar(files, kind=kind)) as archive:
        assert [entry.name for entry in archive.entries] == list(files)
        data = b"".join(archive.chunks(lambda entry: entry.name != "b/c.txt"))
        assert len(data) == archive.length(lambda entry: entry.name != "b/c.txt")
    with tarfile.open(fileobj=io.BytesIO(data)) as out:
        assert {member.name: read(out, member) for member in out} == {
            name: content for name, content in files.items() if name != "b/c.txt"
        }


def test_an_archive_that_broke_off_is_no_context() -> None:
    with pytest.raises(OutsideError):
        held(tar({"a.txt": b"a" * 5000})[:3000])


def test_text_is_read_without_unpacking() -> None:
    with held(tar({"Dockerfile": b"FROM scratch\n"})) as archive:
        assert archive.text("Dockerfile") == "FROM scratch\n"
        assert archive.text("missing") is None


def test_a_file_in_an_archive_is_a_file_for_tar() -> None:
    data = b"".join([*nested("context.tar", 3, [b"abc"]), bytes(1024)])
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        member = archive.getmember("context.tar")
        assert (member.size, member.mode, read(archive, member)) == (3, 0o644, b"abc")


def test_time_alone_is_no_change() -> None:
    files = {"a.txt": b"a", LONG: b"long", "naïve": b"u"}
    with held(tar(files, at=1)) as base, held(tar(files, at=2)) as new:
        assert changes(base, new, set(files)) == frozenset()


def test_new_contents_and_new_files_are_the_changes() -> None:
    files = {f"{at}.txt": b"x" for at in range(20)}
    with held(tar(files)) as base, held(tar(files | {"3.txt": b"y", "new.txt": b"z"})) as new:
        assert changes(base, new, {*files, "new.txt"}) == frozenset(("3.txt", "new.txt"))
        assert changes(base, new, {*files}) == frozenset(("3.txt",))


def test_a_file_that_went_makes_the_base_useless() -> None:
    files = {f"{at}.txt": b"x" for at in range(20)}
    with held(tar(files)) as base, held(tar(dict.fromkeys(list(files)[1:], b"x"))) as new:
        assert changes(base, new, set(files) - {"0.txt"}) is None


def test_a_new_mode_is_a_change() -> None:
    files = {f"{at}.txt": b"x" for at in range(20)}
    with held(tar(files)) as base, held(tar(files, mode=0o755)) as new:
        assert changes(base, new, set(files)) is None  # of all of them: too many for a copy on top


def test_two_thousand_files_cost_a_few_milliseconds() -> None:
    files = {f"pkg{at % 40}/module{at}.py": b"x" * 5000 for at in range(2000)}
    data = tar(files)
    with held(data) as base:
        started = time.perf_counter()
        with held(data) as new:
            assert changes(base, new, set(files)) == frozenset()
            assert sum(map(len, new.chunks(lambda entry: True))) > 10_000_000
        assert time.perf_counter() - started < 1.0  # 0.05 s on a quiet machine
