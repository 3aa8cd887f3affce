"""What the guests boot from: Debian packages, unpacked for them alone.

Rules: nothing is installed on this machine, and nothing is started on it. The packages go into one directory, the
*layer*, which guests see on top of this machine's own files; the few programs that are needed out here are run from
there too, where this machine has none. `CannotRun` says in a sentence why there can be no laboratory here.
"""

import gzip
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

WANTED = (
    "user-mode-linux",  # the kernel, as a program
    "busybox-static",  # its first steps
    "xfsprogs",  # the disk that is exported
    "kmod",
    "iproute2",
    "nfs-kernel-server",
    "nfs-common",
    "rpcbind",
)
KERNEL = "user-mode-linux"
GUEST = Path(__file__).parent / "guest"
# The only module of that kernel that is needed before its modules can be seen.
FIRST_MODULE = "overlay"
APT_SECONDS = 300


class CannotRun(Exception):
    """Why there can be no laboratory on this machine."""


def home() -> Path:
    """Where the layer and the disks are; a path that guests can be told in their command line."""
    named = os.environ.get("LAB_HOME")
    path = Path(named) if named else Path(tempfile.gettempdir()) / "storage-proxy-lab"
    if " " in str(path):
        raise CannotRun(f"the path {path} has a space in it; set LAB_HOME to another one")
    return path


def prepare() -> Path:
    """Get and unpack what is missing; the home of the laboratory."""
    at = home()
    ready = at / "ready"
    if not ready.exists() or ready.read_text() != _recipe():
        shutil.rmtree(at / "layer", ignore_errors=True)
        _unpack(_download(at / "packages"), at / "layer")
        _put_modules_in_place(at / "layer")
        _make_first_steps(at)
        ready.write_text(_recipe())
    return at


def tool(name: str) -> tuple[list[str], dict[str, str]]:
    """How to run a program that this machine may lack: the beginning of a command, and its environment."""
    own = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if own is not None:
        return [own], dict(os.environ)
    layer = home() / "layer" / "usr"
    found = next((layer / where / name for where in ("sbin", "bin") if (layer / where / name).exists()), None)
    if found is None:
        raise CannotRun(f"there is no program {name} here")
    libraries = ":".join(str(path) for path in (layer / "lib").glob("*-linux-gnu"))
    return [str(found)], {**os.environ, "LD_LIBRARY_PATH": libraries}


def run(*command: str) -> str:
    """One of the programs above, to its end; what it said."""
    start, environment = tool(command[0])
    done = subprocess.run(
        [*start, *command[1:]], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        raise CannotRun(f"`{' '.join(command)}` failed: {done.stdout.strip()}")
    return done.stdout


# ---- getting them ---------------------------------------------------------------------------------------------------


def _recipe() -> str:
    return " ".join(WANTED) + "\n" + (GUEST / "init").read_text()


def _apt(*arguments: str, cwd: Path | None = None) -> str:
    # The sandbox user may not be allowed to write where we want the files.
    command = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", *arguments]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=APT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotRun(f"apt-get does not work here: {error}") from None
    if done.returncode != 0:
        raise CannotRun(f"Debian's packages cannot be had: {done.stdout.strip().splitlines()[-1:]}")
    return done.stdout


def _download(to: Path) -> list[Path]:
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    try:
        names = _missing()
        _apt("download", *names, cwd=to)
    except CannotRun:
        # The lists may be absent, as in most images, or too old.
        _apt("update")
        names = _missing()
        _apt("download", *names, cwd=to)
    return sorted(to.glob("*.deb"))


def _missing() -> list[str]:
    """What apt would install for these, their dependencies included; the rest the guests find on this machine."""
    said = _apt("install", "--simulate", "--no-install-recommends", *WANTED)
    names = {line.split()[1] for line in said.splitlines() if line.startswith("Inst ")}
    return sorted(names | {KERNEL})


def _unpack(packages: Sequence[Path], layer: Path) -> None:
    layer.mkdir(parents=True)
    for package in packages:
        subprocess.run(["dpkg", "-x", str(package), str(layer)], check=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        # A real /sbin in the layer would hide the link /sbin -> usr/sbin below it.
        top = layer / name
        if top.is_dir() and not top.is_symlink():
            (layer / "usr" / name).mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-a", f"{top}/.", str(layer / "usr" / name)], check=True)
            shutil.rmtree(top)


# ---- making it bootable ---------------------------------------------------------------------------------------------


def _put_modules_in_place(layer: Path) -> None:
    modules = layer / "usr/lib/modules"
    modules.mkdir(parents=True, exist_ok=True)
    for version in sorted((layer / "usr/lib/uml/modules").iterdir()):
        version.rename(modules / version.name)
        run("depmod", "-b", str(layer / "usr"), version.name)


def _make_first_steps(at: Path) -> None:
    """The archive a guest starts from: a shell, one module, and the script that finds the real root."""
    busybox = next((path for path in (at / "layer/usr/bin/busybox", Path("/bin/busybox")) if path.exists()), None)
    module = next((at / "layer/usr/lib/modules").glob(f"*/kernel/fs/*/{FIRST_MODULE}.ko"), None)
    if busybox is None or module is None:
        raise CannotRun("the packages do not hold what was expected: no busybox, or no overlay module")
    entries = [
        *(_entry(name, 0o040755) for name in ("bin", "dev")),
        _entry("dev/console", 0o020600, device=(5, 1)),
        _entry("bin/busybox", 0o100755, busybox.read_bytes()),
        _entry("overlay.ko", 0o100644, module.read_bytes()),
        _entry("init", 0o100755, (GUEST / "init").read_bytes()),
        _entry("TRAILER!!!", 0),
    ]
    (at / "initramfs.gz").write_bytes(gzip.compress(b"".join(entries), compresslevel=1))


def _entry(name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> bytes:
    """One file of a cpio archive in the kernel's "newc" format: 13 numbers of 8 hex digits, the name, the content."""
    spelled = name.encode() + b"\0"
    numbers = (0, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(spelled), 0)
    head = b"070701" + b"".join(b"%08X" % number for number in numbers) + spelled
    return _filled(head) + _filled(content)


def _filled(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
