"""What a mount's type and options mean for the service. PURE: a `Mount` in, findings out.

Rules: an option is judged by what was measured of it or what its manual says, not by what the probes of this moment
happen to see: a soft mount works until the server is slow.
"""

from collections.abc import Iterable

from storage_proxy.adapters.doctor.findings import Facts, Finding, bad, fenced, good, note
from storage_proxy.adapters.mounts import Mount

# Types that keep nothing when the machine, or the container, goes.
VOLATILE = {"tmpfs": "it lives in memory", "ramfs": "it lives in memory"}
OF_A_CONTAINER = {"overlay", "aufs"}

# What makes fcntl locks hold on one machine only: option -> the values that do, () for any.
LOCAL_LOCKS: dict[str, tuple[str, ...]] = {
    "nolock": (),
    "local_lock": ("all", "posix"),  # NFS; `flock` leaves fcntl locks alone
    "localflock": (),  # Lustre
    "localflocks": (),  # GFS2, OCFS2
    "nobrl": (),  # CIFS
}
SHARED_DISKS = {"nfs", "nfs4", "lustre", "ceph", "gpfs", "beegfs", "gfs2", "ocfs2", "cifs", "smb3", "9p", "virtiofs"}

REMOUNT = "Mount it anew with"


def judge(mount: Mount, inside: Iterable[Mount] = ()) -> list[Finding]:
    """`inside`: the mounts below the volume."""
    return [
        _what(mount),
        _lasting(mount),
        _locks(mount),
        _freshness(mount),
        _errors(mount),
        _inside(inside),
    ]


def _what(mount: Mount) -> Finding:
    shared = mount.kind in SHARED_DISKS or mount.kind.startswith("fuse")
    facts: Facts = {
        "type": mount.kind,
        "source": mount.source,
        "mounted_at": mount.point,
        "options": ",".join(f"{name}={value}" if value else name for name, value in sorted(mount.options.items())),
        "nfs_version": ".".join(map(str, mount.nfs_version)) if mount.nfs_version else None,
    }
    if "ro" in mount.options:
        return bad("mount", f"{mount}, is read-only.", f"{REMOUNT} rw.", **facts)
    if mount.nfs_version is not None and mount.nfs_version < (3, 0):
        return bad("mount", f"{mount}, is older than anything tried.", f"{REMOUNT} vers=4.2.", **facts)
    if mount.nfs_version == (3, 0):
        return note("mount", f"{mount}.", "NFS 4.2 copies inside the server and recovers locks better.", **facts)
    if not shared:
        return note("mount", f"{mount}.", "Only replicas on this machine can share it.", **facts)
    return good("mount", f"{mount}.", **facts)


def _lasting(mount: Mount) -> Finding:
    if mount.kind in VOLATILE:
        return bad(
            "lasting",
            f"This is {mount.kind}: {VOLATILE[mount.kind]} and is gone after a restart.",
            "Use a directory on a disk or a share.",
            type=mount.kind,
        )
    if mount.kind in OF_A_CONTAINER:
        return note(
            "lasting",
            "This is a container's own layer and goes with the container.",
            "Mount a volume or a share here.",
            type=mount.kind,
        )
    return good("lasting", f"{mount.kind} outlives a restart.", type=mount.kind)


def _locks(mount: Mount) -> Finding:
    for option, values in LOCAL_LOCKS.items():
        value = mount.options.get(option)
        if value is not None and (not values or value in values):
            spelled = f"{option}={value}" if value else option
            return fenced(
                "lock options",
                f"Mounted with {spelled}: locks do not reach other machines, so only the fence stands between two of "
                "them.",
                f"{REMOUNT}out {spelled}.",
                option=spelled,
            )
    return good("lock options", "No mount option keeps locks on this machine.")


def _freshness(mount: Mount) -> Finding:
    """See the measurements in the documentation of NFS: what is cured by a refresh, and what is not."""
    version, lookups = mount.nfs_version, mount.options.get("lookupcache", "all")
    if version is None:
        return good("look-up options", "No NFS: the kernel's own look-ups are what the file system says.")
    if "nocto" in mount.options:
        return bad(
            "look-up options",
            "Mounted with nocto: an open may show an old file for as long as the cache lives.",
            f"{REMOUNT}out nocto.",
            option="nocto",
        )
    if version < (4, 0) and lookups != "none":
        return bad(
            "look-up options",
            "NFS 3 without lookupcache=none: listings and stat stay stale even after a refresh.",
            f"{REMOUNT} lookupcache=none, or with vers=4.2.",
            option=f"lookupcache={lookups}",
        )
    if "softreval" in mount.options:
        return bad(
            "look-up options",
            "Mounted with softreval: while the server is slow, old attributes count as new.",
            f"{REMOUNT}out softreval.",
            option="softreval",
        )
    if lookups == "none":
        return good("look-up options", "lookupcache=none: every look-up asks the server.", option="lookupcache=none")
    return good(
        "look-up options",
        f"lookupcache={lookups}: names are remembered, and the service refreshes a directory before each look-up "
        "that must be fresh.",
        option=f"lookupcache={lookups}",
    )


def _errors(mount: Mount) -> Finding:
    soft = next((option for option in ("soft", "softerr") if option in mount.options), None)
    if mount.nfs_version is not None and soft is not None:
        return bad(
            "error options",
            f"Mounted {soft}: when the server is slow, writes are given up and may be lost or torn without a word.",
            f"{REMOUNT} hard; the service bounds its own waiting.",
            option=soft,
        )
    if mount.nfs_version is not None:
        return good("error options", "Mounted hard: a slow server delays, and loses nothing.", option="hard")
    return good("error options", "No option gives up writes.")


def _inside(inside: Iterable[Mount]) -> Finding:
    points = sorted(mount.point for mount in inside)
    if points:
        return bad(
            "mounts inside",
            f"Other file systems are mounted inside this volume ({', '.join(points[:3])}"
            f"{', ...' if len(points) > 3 else ''}): no file can be published into them.",
            "Make each of them a volume of its own.",
            points=", ".join(points),
        )
    return good("mounts inside", "The whole volume is one mount.")
