"""Small questions to a directory, one function each: cheap, alone on this machine, done in a few calls.

Rules: a probe asks by doing what the service does, with the service's own calls where it has one, and takes no error
for an answer it does not know: what is unexpected is `untried`, not `bad`. Races are in `races.py`, figures in
`speeds.py`, another machine in `partner.py`.
"""

import errno
import os
import stat
import time

from storage_proxy.adapters.doctor.findings import Facts, Finding, bad, good, note
from storage_proxy.adapters.doctor.scratch import Scratch
from storage_proxy.core.errors import ShareFault
from storage_proxy.core.target import STAGING
from storage_proxy.ports import NameMissing, NameTaken, Region

# A clock that is wrong by more makes times in manifests and log lines hard to follow.
SKEW_SECONDS_MAX = 2.0
# Under this much an upload of ordinary size may fill the share.
FREE_BYTES_LOW = 1 << 30
FREE_INODES_LOW = 10_000

NO_LINK = "Use a file system with hard links (NFS, ext4, XFS, CephFS); SMB and many FUSE mounts have none."


def link_works(scratch: Scratch) -> Finding:
    """Hard links: what the fence, and publishing without replacing, are made of."""
    place, files = scratch.fresh("link"), scratch.filesystem
    files.create_durably(f"{place}/first", b"first")
    files.create_durably(f"{place}/second", b"second")
    try:
        files.link(f"{place}/first", f"{place}/name")
    except ShareFault as fault:
        return bad("link", f"Hard links are not possible here ({fault.reason}): there can be no fence.", NO_LINK)
    try:
        files.link(f"{place}/second", f"{place}/name")
    except NameTaken:
        links = files.inspect(f"{place}/first").links
        if links == 2 and files.read(f"{place}/name") == b"first":
            return good("link", "Hard links work, and a name that is taken is refused.")
        return bad("link", f"A file with two names is said to have {links}.", NO_LINK, links=links)
    return bad("link", "A hard link replaced a name that was taken: there can be no fence.", NO_LINK)


def exclusive_works(scratch: Scratch) -> Finding:
    place, files = scratch.fresh("exclusive"), scratch.filesystem
    files.create_durably(f"{place}/name", b"first")
    try:
        files.create_durably(f"{place}/name", b"second")
    except NameTaken:
        return good("exclusive create", "A file is created exclusively (O_EXCL).")
    return bad("exclusive create", "O_EXCL created a file that was there already.", "Use another file system.")


def rename_works(scratch: Scratch) -> Finding:
    place, files = scratch.fresh("rename"), scratch.filesystem
    files.create_durably(f"{place}/old", b"old")
    files.create_durably(f"{place}/new", b"new")
    files.rename(f"{place}/new", f"{place}/old")
    text, names = files.read(f"{place}/old"), files.list(place)
    if text == b"new" and names == ["old"]:
        return good("rename", "A rename replaces what had the name.")
    return bad("rename", f"After a rename over a name there is {names} with {text!r}.", "Use another file system.")


def directories_sync(scratch: Scratch) -> Finding:
    """fsync of a directory: without it a name that was told of may be gone after a loss of power."""
    try:
        scratch.filesystem.sync_directory(".")
        fd = os.open(scratch.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except (ShareFault, OSError) as fault:
        return bad(
            "directory sync",
            f"A directory cannot be synced here ({_reason(fault)}): names may be lost with the power.",
            "Use a file system whose directories can be synced.",
        )
    return good("directory sync", "Directories can be synced.")


def lock_is_given(scratch: Scratch) -> Finding:
    try:
        with scratch.filesystem.lock("lock", Region.MANIFEST, 0):
            return good("lock", "Open-file-description locks are given.")
    except ShareFault as fault:
        return bad(
            "lock",
            f"No lock is given: {fault.reason}. Every change of an upload would fail.",
            "Mount with locks; for NFS 3 let statd run on both sides.",
        )


def targets_are_in_reach(scratch: Scratch) -> Finding:
    """Publishing is a link or a rename from `.uploads` to the target: one file system, really."""
    scratch.filesystem.create_durably("published", b"whole")
    try:
        os.link(scratch.path / "published", scratch.outside)
        os.unlink(scratch.outside)
        os.rename(scratch.path / "published", scratch.outside)
        os.unlink(scratch.outside)
    except OSError as error:
        if error.errno == errno.EXDEV:
            return bad(
                "one file system",
                f"{STAGING} and the volume are on different file systems: no file can be published.",
                f"Let {STAGING} be a plain directory of the volume, no mount, subvolume or quota tree of its own.",
            )
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return bad(
                "one file system",
                f"A file may not be put from {STAGING} into the volume ({_reason(error)}).",
                "Let the service's user write in the volume's directory.",
            )
        raise
    return good("one file system", f"Files go from {STAGING} to the volume in one step.")


def staging_is_ours(scratch: Scratch) -> Finding:
    found = os.stat(scratch.staging, follow_symlinks=False)
    mode = stat.S_IMODE(found.st_mode)
    facts: Facts = {"mode": f"{mode:04o}", "owner": found.st_uid, "user": os.geteuid()}
    if mode & stat.S_IWOTH:
        return bad(
            "staging",
            f"Everybody may write in {STAGING} (mode {mode:04o}): promised bytes can be changed behind our back.",
            f"chmod 700 {STAGING}.",
            **facts,
        )
    if mode & 0o077:
        return note(
            "staging",
            f"{STAGING} has mode {mode:04o}: others on this share may look into unfinished uploads.",
            f"chmod 700 {STAGING}, unless other users run replicas.",
            **facts,
        )
    return good("staging", f"{STAGING} is a directory of the service's own (mode {mode:04o}).", **facts)


def permissions_hold(scratch: Scratch) -> Finding:
    """Whether files belong to who makes them, and take the mode they are given (root squash, forced masks)."""
    path = scratch.path / "permissions"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.fchmod(fd, 0o640)
        except OSError as error:
            return note("permissions", f"Modes cannot be changed here ({_reason(error)}).", error=_reason(error))
        found = os.fstat(fd)
    finally:
        os.close(fd)
    mode = stat.S_IMODE(found.st_mode)
    facts: Facts = {"user": os.geteuid(), "owner": found.st_uid, "mode": f"{mode:04o}"}
    if found.st_uid != os.geteuid():
        return note(
            "permissions",
            f"Files made by user {os.geteuid()} belong to user {found.st_uid}: the server maps users (root_squash, "
            "all_squash).",
            "Run all replicas as one user that the server knows.",
            **facts,
        )
    if mode != 0o640:
        return note("permissions", f"A file given mode 0640 has mode {mode:04o}: the mount forces modes.", **facts)
    return good("permissions", "Files belong to who makes them, and take their mode.", **facts)


def names_tell_case(scratch: Scratch) -> Finding:
    place = scratch.fresh("case")
    scratch.filesystem.create_durably(f"{place}/Name", b"")
    try:
        scratch.filesystem.read(f"{place}/name")
    except NameMissing:
        return good("letter case", "Names tell upper from lower case.")
    return note(
        "letter case",
        "Names do not tell upper from lower case: targets that differ in it alone are one file to the share.",
        "Let clients choose names that differ in more, or export with case sensitivity.",
    )


def clocks_agree(scratch: Scratch) -> Finding:
    before = time.time()
    shares = scratch.filesystem.share_time(".")
    after = time.time()
    # File systems stamp with a clock that ticks every few milliseconds; between the two is agreement.
    skew = round(shares - after if shares > after else min(0.0, shares - before + 0.02), 3)
    if abs(skew) <= SKEW_SECONDS_MAX:
        return good(
            "clock", f"The share's clock and this machine's agree (within {max(abs(skew), 0.02):.2f} s).", skew=skew
        )
    return note(
        "clock",
        f"The share's clock is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this machine's; ages are "
        "judged by the share's, times in manifests and logs by this machine's.",
        "Set both by NTP.",
        skew=skew,
    )


def space_is_left(scratch: Scratch) -> Finding:
    found = os.statvfs(scratch.root)
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    facts: Facts = {"free_bytes": free, "total_bytes": total, "free_inodes": found.f_favail, "inodes": found.f_files}
    said = f"{free / (1 << 30):.1f} GiB of {total / (1 << 30):.1f} GiB are free"
    # Some servers count no inodes, and say 0 of 0.
    few_inodes = found.f_files > 0 and found.f_favail < FREE_INODES_LOW
    if free < FREE_BYTES_LOW or few_inodes:
        return note("space", f"{said}, {found.f_favail} inodes.", "Make room before uploads are refused.", **facts)
    inodes = f", {found.f_favail} inodes" if found.f_files > 0 else ""
    return good("space", f"{said}{inodes}.", **facts)


def _reason(fault: Exception) -> str:
    if isinstance(fault, ShareFault):
        return fault.reason
    return os.strerror(fault.errno or 0) if isinstance(fault, OSError) else str(fault)
