"""Going into an environment, as over SSH: a real terminal, files both ways, a port, and keys for only that."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.support.agentd import BUTAI
from tests.support.eventually import eventually
from tests.support.samples import tiny
from tests.support.terminal import Terminal
from tests.support.theatre import Theatre

DOCKERFILE = """\
FROM busybox:1.37
COPY www /www
RUN mkdir /data && echo old >/data/kept && chown -R 1234:5678 /data
USER 1234
CMD ["httpd", "-f", "-p", "8080", "-h", "/www"]
"""


@pytest.fixture(scope="module", name="branch")
def branch_fixture(theatre: Theatre) -> Iterator[str]:
    theatre.stage("tiny", "inside", tiny("within", dockerfile=DOCKERFILE))
    yield "inside"
    theatre.destroy("tiny", "inside")


def listed(theatre: Theatre, path: str) -> str:
    """`ls -ln` of it in the service."""
    return theatre.agent.cli("exec", "inside", "web", "--", "ls", "-lnR", path).stdout


def last_event(theatre: Theatre, kind: str) -> tuple[str, str]:
    events = theatre.agent.ask("/events", slug="inside", limit="1000")["events"]
    [*_, last] = [event for event in events if event["kind"] == kind]
    return str(last["caller"]), str(last["text"])


@pytest.mark.parametrize("gated", [False, True], ids=["on the host", "with a key that may exec"])
def test_exec_is_a_terminal_with_resize_keys_and_exit_code(theatre: Theatre, branch: str, *, gated: bool) -> None:
    butai = [BUTAI, "--config", str(theatre.agent.config_path)]
    if gated:
        argv, asked = [*butai, "ssh-gate", "anna", "--allow", "exec"], f"butai exec {branch} web -- sh"
    else:
        argv, asked = [*butai, "exec", branch, "web", "--", "sh"], ""
    with Terminal(argv, rows=40, columns=100, environment={"SSH_ORIGINAL_COMMAND": asked}) as terminal:
        terminal.types("stty size; id -u\n")
        terminal.shows("40 100")
        terminal.shows("1234")

        terminal.resize(24, 132)

        def resized() -> bool:
            terminal.types("stty size\n")
            terminal.shows("24 132", 0.5)
            return True

        eventually(resized, 15)
        terminal.types("echo re''ady; cat\n")
        terminal.shows("ready")
        terminal.types("\x10")  # not held back for Docker's own keys
        terminal.shows("^P")
        terminal.types("\x03")
        terminal.shows("^C")
        terminal.types("exit 7\n")
        assert terminal.exit_code() == 7
    assert last_event(theatre, "exec")[0].endswith("/anna") == gated


def test_files_copied_in_belong_to_whoever_owns_their_place(theatre: Theatre, branch: str, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a file").write_text("a\n")
    (folder / "link").symlink_to("deep")
    single = tmp_path / "single"
    single.write_text("new\n")
    single.chmod(0o640)

    theatre.agent.cli("cp", branch, str(folder), "web:/data")
    theatre.agent.cli("cp", branch, f"{folder}/.", "web:/data/unpacked")
    theatre.agent.cli("cp", branch, str(single), "web:/data/kept")

    shown = listed(theatre, "/data")
    owners = {tuple(line.split()[2:4]) for line in shown.splitlines() if line.startswith(("-", "d", "l"))}
    assert owners == {("1234", "5678")}
    assert "link -> deep" in shown
    assert "-rw-r-----" in shown
    assert theatre.agent.cli("exec", branch, "--", "cat", "/data/kept", "/data/new/deep/a file").stdout == "new\na\n"
    assert theatre.agent.cli("exec", branch, "--", "ls", "/data/unpacked").stdout == "deep\nlink\n"
    assert last_event(theatre, "copy")[1] == "copy into '/data/kept' of web asked for"


def test_files_are_copied_out_as_files_and_as_an_archive(theatre: Theatre, branch: str, tmp_path: Path) -> None:
    theatre.agent.cli("cp", branch, "web:/www", str(tmp_path / "copy"))
    streamed = theatre.agent.gated(f"butai cp {branch} web:/www -", allow="cp")

    assert (tmp_path / "copy" / "index.html").read_text() == "within\n"
    assert (tmp_path / "copy" / "index.html").stat().st_uid == os.geteuid()
    with tarfile.open(fileobj=io.BytesIO(streamed.stdout)) as archive:
        assert "www/index.html" in archive.getnames()


def test_an_archive_from_a_laptop_is_unpacked_as_the_services_own(theatre: Theatre, branch: str) -> None:
    sent = io.BytesIO()
    with tarfile.open(fileobj=sent, mode="w:gz") as archive:
        entry = tarfile.TarInfo("from-laptop")
        entry.size, entry.uid, entry.uname = 3, 501, "anna"
        archive.addfile(entry, io.BytesIO(b"hi\n"))

    done = theatre.agent.gated(f"butai cp {branch} - web:/data/", allow="cp", data=sent.getvalue())
    broken = theatre.agent.gated(f"butai cp {branch} - web:/data/", allow="cp", data=b"no archive")

    assert done.returncode == 0, done.stderr
    [line] = [line for line in listed(theatre, "/data").splitlines() if line.endswith("from-laptop")]
    assert line.split()[2:4] == ["1234", "5678"]
    assert broken.returncode == 2
    assert b"no tar archive" in broken.stderr


@pytest.mark.parametrize(
    ("source", "destination", "said"),
    [
        ("web:/no/such", "-", "Nothing is at /no/such in web of inside"),
        ("/etc/hostname", "web:/data/nothing/", "Nothing is at /data/nothing/ in web of inside"),
        ("/etc", "web:/bin/busybox", "a folder cannot replace it"),
    ],
)
def test_what_cannot_be_copied_says_where_and_why(
    theatre: Theatre, branch: str, source: str, destination: str, said: str
) -> None:
    done = theatre.agent.cli("cp", branch, source, destination, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_file_never_replaces_a_folder(theatre: Theatre, branch: str, tmp_path: Path) -> None:
    (tmp_path / "www").write_text("not a folder\n")

    done = theatre.agent.cli("cp", branch, str(tmp_path / "www"), "web:/", check=False)

    assert done.returncode == 2
    assert "web of inside does not take that at /" in done.stderr
    assert theatre.agent.cli("exec", branch, "--", "ls", "/www").stdout == "index.html\n"


def test_a_port_of_a_service_is_reached_by_a_pipe_and_on_the_loopback(theatre: Theatre, branch: str) -> None:
    request = b"GET /index.html HTTP/1.0\r\n\r\n"
    piped = theatre.agent.gated(f"butai tunnel {branch} web 8080", allow="tunnel", data=request)
    assert piped.stdout.endswith(b"within\n"), piped.stderr
    caller, text = last_event(theatre, "tunnel")
    assert caller.endswith("/anna")
    assert text == "opened a tunnel to web:8080"

    argv = [BUTAI, "--config", str(theatre.agent.config_path), "tunnel", branch, "web", "8080", "--listen", "0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as tunnel:
        assert tunnel.stdout is not None
        address, _, port = tunnel.stdout.readline().decode().strip().rpartition(":")
        for _ in range(2):
            with closing(HTTPConnection(address, int(port), timeout=10)) as http:
                http.request("GET", "/index.html")
                assert http.getresponse().read() == b"within\n"
        tunnel.stdout.close()
        assert tunnel.wait(10) == 0


def test_a_key_for_logs_reads_logs_and_nothing_else(theatre: Theatre, branch: str) -> None:
    assert theatre.agent.gated(f"butai logs {branch} web", allow="logs").returncode == 0
    for line in (f"butai exec {branch} -- id", f"butai logs {branch}; id"):
        refused = theatre.agent.gated(line, allow="logs")
        assert (refused.returncode, refused.stdout) == (2, b""), line


def test_edit_prints_the_worktree(theatre: Theatre, branch: str) -> None:
    path = theatre.agent.cli("edit", branch).stdout.rstrip("\n")

    assert Path(path, "www", "index.html").read_text() == "within\n"
