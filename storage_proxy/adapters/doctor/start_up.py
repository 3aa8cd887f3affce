"""What stops a start: the few faults that are cheap to see and would break promises, in `doctor`'s own words.

Rules: some ten calls, no race and no measurement. A share that is full, or hangs, stops no start: that passes. What is
returned are whole sentences, each saying what to do. `.uploads` is made where it is not there, and stays.
"""

import errno
import os
from pathlib import Path

from storage_proxy.adapters.doctor import mount_options, probes
from storage_proxy.adapters.doctor.findings import Finding, Grade
from storage_proxy.adapters.doctor.scratch import STAGING_IN_THE_WAY, Scratch
from storage_proxy.adapters.errno_answers import answer
from storage_proxy.adapters.mounts import mount_of
from storage_proxy.core.errors import ShareFull

_FATAL = (probes.link_works, probes.directories_sync, probes.targets_are_in_reach, probes.lock_is_given)


def start_up_faults(root: Path) -> list[str]:
    """Why no replica should serve this directory; empty: it may. Blocks; ShareFault for the share's trouble."""
    if not root.is_dir():
        return [f"{root} is not a directory; mount or create it."]
    try:
        with Scratch(root, keep_staging=True) as scratch:
            return _faults(scratch)
    except ShareFull:
        return []
    except OSError as error:
        if error.errno == errno.ENOTDIR:
            return [f"{STAGING_IN_THE_WAY} Move it away."]
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return [
                f"Nothing can be made in {root} ({os.strerror(error.errno)}). Let the service's user write there, and "
                "mount it rw."
            ]
        trouble = answer(error, "start-up check")
        if isinstance(trouble, ShareFull):
            return []
        raise trouble from error


def _faults(scratch: Scratch) -> list[str]:
    findings = [probe(scratch) for probe in _FATAL]
    faults = [str(finding) for finding in findings if finding.grade is Grade.BAD]
    no_links = findings[0].grade is Grade.BAD
    if no_links and (locks := _local_locks(scratch.root)) is not None:
        # With links the fence makes them harmless.
        faults.append(str(locks))
    return faults


def _local_locks(root: Path) -> Finding | None:
    mount = mount_of(root)
    judged = mount_options.judge(mount) if mount is not None else []
    return next((finding for finding in judged if finding.grade is Grade.FENCED), None)
