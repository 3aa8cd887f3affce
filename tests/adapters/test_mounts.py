"""Lines of mountinfo as kernels write them, and what is read off them."""

from pathlib import Path

import pytest

from storage_proxy.adapters.mounts import Mount, below, covering, mount_of, parse, parse_line

NFS42 = (
    "612 29 0:53 / /mnt/share rw,relatime shared:331 - nfs4 10.0.0.1:/export rw,vers=4.2,rsize=1048576,"
    "wsize=1048576,namlen=255,hard,proto=tcp,timeo=600,retrans=2,sec=sys,clientaddr=10.0.0.2,local_lock=none,"
    "addr=10.0.0.1"
)
NFS3 = (
    "80 29 0:54 /sub /mnt/three ro,noatime - nfs server:/export/three rw,vers=3,soft,nolock,proto=tcp,"
    "mountvers=3,local_lock=all,lookupcache=none"
)
EXT4 = "29 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw,errors=remount-ro"
SPACES = r"90 29 0:60 / /mnt/my\040share\134x rw - nfs4 host:/a\040b rw,vers=4.1"
MANY_OPTIONAL = "91 29 0:61 / /m rw shared:1 master:2 propagate_from:3 unbindable - tmpfs tmpfs rw,size=64k"
NO_OPTIONAL = "92 29 0:62 / /n rw - xfs /dev/sdb rw"


@pytest.mark.parametrize(
    ("line", "point", "kind", "source", "version"),
    [
        (NFS42, "/mnt/share", "nfs4", "10.0.0.1:/export", (4, 2)),
        (NFS3, "/mnt/three", "nfs", "server:/export/three", (3, 0)),
        (EXT4, "/", "ext4", "/dev/nvme0n1p2", None),
        (SPACES, r"/mnt/my share\x", "nfs4", "host:/a b", (4, 1)),
        (MANY_OPTIONAL, "/m", "tmpfs", "tmpfs", None),
        (NO_OPTIONAL, "/n", "xfs", "/dev/sdb", None),
        ("1 2 0:1 / /o rw - nfs4 h:/ rw,vers=4,minorversion=1", "/o", "nfs4", "h:/", (4, 1)),
        ("1 2 0:1 / /o rw - nfs h:/ rw,nfsvers=3", "/o", "nfs", "h:/", (3, 0)),
        ("1 2 0:1 / /o rw - nfs h:/ rw", "/o", "nfs", "h:/", (3, 0)),
        ("1 2 0:1 / /o rw - nfs4 h:/ rw", "/o", "nfs4", "h:/", (4, 0)),
        ("1 2 0:1 / /o rw - nfs h:/ rw,vers=what", "/o", "nfs", "h:/", (0, 0)),
        ("1 2 0:1 / /o rw - fuse.sshfs h:/ rw", "/o", "fuse.sshfs", "h:/", None),
    ],
)
def test_a_line_says_what_is_mounted_where_and_how(
    line: str, point: str, kind: str, source: str, version: tuple[int, int] | None
) -> None:
    mount = parse_line(line)
    assert mount is not None
    assert (mount.point, mount.kind, mount.source, mount.nfs_version) == (point, kind, source, version)


def test_options_of_the_mount_and_of_its_file_system_are_both_seen() -> None:
    mount = parse_line(NFS3)
    assert mount is not None
    assert {name: mount.options[name] for name in ("ro", "noatime", "soft", "nolock", "local_lock", "lookupcache")} == {
        "ro": "",
        "noatime": "",
        "soft": "",
        "nolock": "",
        "local_lock": "all",
        "lookupcache": "none",
    }


@pytest.mark.parametrize("line", ["", "nonsense", "1 2 3", EXT4.replace(" - ", " "), "1 2 0:1 / /o rw - nfs4"])
def test_a_line_that_is_not_understood_is_left_out(line: str) -> None:
    assert parse(f"{line}\n{EXT4}\n") == parse(EXT4)


@pytest.mark.parametrize(
    ("path", "point"),
    [
        ("/", "/"),
        ("/srv", "/"),
        ("/mnt/share", "/mnt/share"),
        ("/mnt/share/a/b", "/mnt/share"),
        ("/mnt/shared", "/"),
        ("/mnt/share/inner/x", "/mnt/share/inner"),
    ],
)
def test_the_deepest_mount_covers_a_path(path: str, point: str) -> None:
    mounts = [Mount(at, "ext4", at) for at in ("/mnt/share/inner", "/", "/mnt/share")]
    found = covering(path, mounts)
    assert found is not None
    assert found.point == point


def test_of_two_mounts_at_one_point_the_later_covers() -> None:
    found = covering("/a/b", [Mount("/a", "ext4", "first"), Mount("/a", "nfs4", "second"), Mount("/", "ext4", "root")])
    assert found is not None
    assert found.source == "second"


def test_no_mount_covers_a_path_when_there_is_no_root() -> None:
    assert covering("/b", [Mount("/a", "ext4", "x")]) is None


def test_mounts_below_a_directory_are_found_and_neighbours_are_not() -> None:
    points = ["/", "/vol", "/vol/in", "/vol/in/deeper", "/volume"]
    assert [mount.point for mount in below("/vol", [Mount(point, "ext4", "x") for point in points])] == [
        "/vol/in",
        "/vol/in/deeper",
    ]


def test_this_machine_knows_what_a_directory_is_on(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/proc")
    here, proc = mount_of(tmp_path), mount_of(tmp_path / "link")
    assert here is not None
    assert proc is not None
    assert (proc.kind, proc.point) == ("proc", "/proc")
    assert here.kind != "proc"
