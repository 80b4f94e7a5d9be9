"""Makes `debian:bookworm-slim` out of Debian's packages, for machines that cannot pull it.

The image shares with the host what a build inside it needs to reach the same package sources: the apt mirror and
settings, and the certificate authorities that the host trusts.
"""

import shutil
import tarfile
import tempfile
from pathlib import Path

from tools import apt
from tools.console import SetupError, call, say, work

SUITE = "bookworm"
CA_DIR = Path("/usr/local/share/ca-certificates")
KEYRING_PATH = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# What the official slim image leaves out as well, for every package that is installed later.
SLIM = """\
path-exclude /usr/share/doc/*
path-exclude /usr/share/man/*
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/lintian/*
force-unsafe-io
"""
CLEAN = """\
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Acquire::Languages "none";
"""
NO_SERVICES = "#!/bin/sh\nexit 101\n"
PIP = "[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n"


def image_sources(sources: tuple[apt.Source, ...]) -> str:
    """Return the image's sources.list: the host's Debian mirrors, or Debian's own default for the suite alone."""
    suites = (SUITE, f"{SUITE}-updates", f"{SUITE}-security")
    found = [(suite, apt.mirror_of(sources, suite)) for suite in suites]
    return "".join(f"deb {mirror.uri} {suite} main\n" for suite, mirror in found if mirror)


def recipe() -> str:
    """Return everything that decides what the image holds, for the cache to tell whether it must be made again."""
    authorities = "".join(path.read_text(encoding="utf-8") for path in sorted(CA_DIR.glob("*.crt")))
    sources = image_sources(apt.configured_sources())
    return "\n".join([sources, apt.shared_settings(), authorities, SLIM, CLEAN, PIP])


def build(name: str, labels: dict[str, str]) -> None:
    """Make the image `name`; needs root, for debootstrap makes device files and changes its root."""
    if shutil.which("debootstrap") is None:
        apt.update("images")
        apt.install("images", ["debootstrap"])
    with tempfile.TemporaryDirectory(prefix="butai-rootfs-") as scratch:
        root = Path(scratch, "root")
        archive = Path(scratch, "root.tar")
        _bootstrap(root)
        _settle(root)
        with tarfile.open(archive, "w") as tar:
            tar.add(root, arcname=".", filter=_without_devices)
        changes = ['CMD ["bash"]', 'ENV PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"']
        changes += [f'LABEL {key}="{value}"' for key, value in labels.items()]
        argv = ["docker", "import", *(f"--change={change}" for change in changes), str(archive), name]
        work("images", f"importing {name}", argv)


def _bootstrap(root: Path) -> None:
    mirror = apt.mirror_of(apt.configured_sources(), SUITE)
    argv = ["debootstrap", "--variant=minbase", "--include=ca-certificates", SUITE, str(root)]
    if mirror:
        argv.append(mirror.uri)
    if not KEYRING_PATH.is_file():
        raise SetupError(f"{KEYRING_PATH} is missing: install the package debian-archive-keyring")
    argv.insert(1, f"--keyring={KEYRING_PATH}")
    work("images", f"making a small Debian {SUITE} with debootstrap (about a minute, once)", argv)


def _settle(root: Path) -> None:
    sources = image_sources(apt.configured_sources())
    if sources:
        _write(root / "etc/apt/sources.list", sources)
    _write(root / "etc/apt/apt.conf.d/90host", apt.shared_settings())
    _write(root / "etc/apt/apt.conf.d/docker-clean", CLEAN)
    _write(root / "etc/dpkg/dpkg.cfg.d/slim", SLIM)
    _write(root / "etc/pip.conf", PIP)
    _write(root / "usr/sbin/policy-rc.d", NO_SERVICES)
    (root / "usr/sbin/policy-rc.d").chmod(0o755)
    for authority in sorted(CA_DIR.glob("*.crt")):
        say("images", f"the image trusts {authority.name}, as this host does")
        shutil.copy(authority, root / "usr/local/share/ca-certificates")
    if call(["chroot", str(root), "update-ca-certificates"], timeout_s=60).returncode != 0:
        raise SetupError("update-ca-certificates failed in the new image")
    for name in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale", "var/log"):
        for path in (root / name).glob("*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _without_devices(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if entry.isdev() else entry
