import errno
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage_proxy.adapters import posix_files
from storage_proxy.adapters.posix import PosixFilesystem
from storage_proxy.adapters.posix_files import BUFFERS_MAX
from storage_proxy.core.errors import ShareFault, ShareFull

Written = Callable[[int, Sequence[bytes], int], int]


@pytest.fixture
def fs(tmp_path: Path) -> PosixFilesystem:
    return PosixFilesystem(tmp_path)


def test_a_kernel_that_takes_little_at_a_time_gets_all_the_same(
    fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwritev
    sizes = iter([1, 5, 3, 7, 2, 11, 4] * 10_000)

    def sparing(fd: int, buffers: Sequence[bytes], offset: int) -> int:
        assert len(buffers) <= BUFFERS_MAX
        return real(fd, [b"".join(buffers)[: next(sizes)]], offset)

    pieces = [bytes([number % 251]) * (number % 9) for number in range(BUFFERS_MAX + 500)]
    staged = fs.stage("chunk")
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwritev", sparing)
        staged.write(pieces[:10])
        staged.write(pieces[10:])
    staged.close()
    assert fs.read("chunk") == b"".join(pieces)


@pytest.mark.parametrize("sync", [True, False])
def test_writing_to_the_disk_begins_before_it_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: bool
) -> None:
    begun: list[tuple[int, int]] = []
    monkeypatch.setattr(posix_files, "begin_writing_back", lambda fd, offset, length: begun.append((offset, length)))
    staged = PosixFilesystem(tmp_path, sync=sync).stage("chunk")
    for _ in range(10):
        staged.write([bytes(256 << 10)])
    staged.close()
    assert begun == ([(0, 1 << 20), (1 << 20, 1 << 20)] if sync else [])


def test_a_kernel_that_takes_nothing_is_a_fault_and_no_endless_loop(
    fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = fs.stage("chunk")
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwritev", lambda fd, buffers, offset: 0)
        with pytest.raises(ShareFault):
            staged.write([b"text"])
    staged.close()


def test_a_write_that_failed_half_way_leaves_no_half_and_no_later_sync_succeeds(
    fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.pwritev, 0

    def half(fd: int, buffers: Sequence[bytes], offset: int) -> int:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise OSError(errno.ENOSPC, "full")
        return real(fd, [buffers[0][:3]], offset)

    staged = fs.stage("chunk")
    staged.write([b"before "])
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwritev", half)
        with pytest.raises(ShareFull):
            staged.write([b"wrong text"])
    with pytest.raises(ShareFault, match="earlier write"):
        staged.sync()
    staged.close()
    assert fs.read("chunk") == b"before "


class ForgetfulKernel:
    """What Linux does for a file on NFS: that a page could not be written back is told once for each descriptor, by
    the next write to it (where the share or a quota is full) or by its next sync, whichever comes first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._pwritev, self._fdatasync = os.pwritev, os.fdatasync
        self.lost_a_page = False
        self.syncs_wait_for = threading.Event()
        self.syncs_wait_for.set()
        self.synced = threading.Event()
        monkeypatch.setattr(os, "pwritev", self.write)
        monkeypatch.setattr(os, "fdatasync", self.sync)

    def _tell(self) -> None:
        told, self.lost_a_page = self.lost_a_page, False
        if told:
            raise OSError(errno.EDQUOT, "quota")

    def write(self, fd: int, buffers: Sequence[bytes], offset: int) -> int:
        self._tell()
        return self._pwritev(fd, buffers, offset)

    def sync(self, fd: int) -> None:
        assert self.syncs_wait_for.wait(30)
        self._tell()
        self._fdatasync(fd)
        self.synced.set()


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> ForgetfulKernel:
    return ForgetfulKernel(monkeypatch)


def test_a_page_that_a_write_was_told_of_is_not_forgotten_by_the_sync(
    fs: PosixFilesystem, kernel: ForgetfulKernel
) -> None:
    staged = fs.stage("chunk")
    staged.write([b"first"])
    kernel.lost_a_page = True
    with pytest.raises(ShareFull):
        staged.write([b"second"])
    with pytest.raises(ShareFault, match="earlier write"):
        staged.sync()
    staged.close()


class SlowAnswer:
    """A write that the kernel is through with before its caller hears of it."""

    def __init__(self, kernel: ForgetfulKernel, monkeypatch: pytest.MonkeyPatch) -> None:
        self._kernel = kernel
        self.decided, self.let_go = threading.Event(), threading.Event()
        monkeypatch.setattr(os, "pwritev", self)

    def __call__(self, fd: int, buffers: Sequence[bytes], offset: int) -> int:
        try:
            return self._kernel.write(fd, buffers, offset)
        finally:
            self.decided.set()
            assert self.let_go.wait(30)


def test_a_sync_believes_itself_only_when_the_write_beside_it_has_ended_well(
    fs: PosixFilesystem, kernel: ForgetfulKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = fs.stage("chunk")
    staged.write([b"first"])
    kernel.lost_a_page = True
    slow = SlowAnswer(kernel, monkeypatch)
    kernel.syncs_wait_for = slow.decided
    with ThreadPoolExecutor(2) as threads:
        writing, syncing = threads.submit(staged.write, [b"second"]), threads.submit(staged.sync)
        assert kernel.synced.wait(30)
        slow.let_go.set()
        assert isinstance(writing.exception(30), ShareFull)
        assert isinstance(syncing.exception(30), ShareFull)
    staged.close()


def test_a_sync_waits_for_no_write_that_began_after_it_was_done(
    fs: PosixFilesystem, kernel: ForgetfulKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = fs.stage("chunk")
    first = SlowAnswer(kernel, monkeypatch)
    kernel.syncs_wait_for = first.decided
    with ThreadPoolExecutor(3) as threads:
        writing, syncing = threads.submit(staged.write, [b"first"]), threads.submit(staged.sync)
        assert kernel.synced.wait(30)
        second = SlowAnswer(kernel, monkeypatch)
        first.let_go.set()
        writing.result(30)
        writing = threads.submit(staged.write, [b"second"])
        assert second.decided.wait(30)
        try:
            syncing.result(30)
        finally:
            second.let_go.set()
        writing.result(30)
    staged.close()
    assert fs.read("chunk") == b"firstsecond"


def test_after_a_sync_has_failed_no_later_one_succeeds(fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch) -> None:
    staged = fs.stage("chunk")
    staged.write([b"text"])
    with monkeypatch.context() as patched:

        def fail(fd: int) -> None:
            raise OSError(errno.EIO, "lost")

        patched.setattr(os, "fdatasync", fail)
        with pytest.raises(ShareFault):
            staged.sync()
    with pytest.raises(ShareFault, match="earlier write or sync"):
        staged.sync()
    staged.close()


def test_a_close_that_fails_says_nothing_and_frees_the_descriptor(
    fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, closed = os.close, list[int]()

    def close(fd: int) -> None:
        real(fd)
        closed.append(fd)
        raise OSError(errno.ESTALE, "removed elsewhere")

    staged = fs.stage("chunk")
    with monkeypatch.context() as patched:
        patched.setattr(os, "close", close)
        staged.close()
        staged.close()
    assert len(closed) == 1


class Hanging:
    """A pwritev that hangs until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._real = os.pwritev
        self.entered, self.let_go = threading.Event(), threading.Event()
        self.fd = -1
        monkeypatch.setattr(os, "pwritev", self)

    def __call__(self, fd: int, buffers: Sequence[bytes], offset: int) -> int:
        self.fd = fd
        self.entered.set()
        assert self.let_go.wait(30)
        return self._real(fd, buffers, offset)


def test_a_file_closed_under_a_hanging_write_keeps_its_descriptor_until_the_write_is_back(
    fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = fs.stage("chunk")
    hanging = Hanging(monkeypatch)
    writer = threading.Thread(target=staged.write, args=([b"late"],))
    writer.start()
    assert hanging.entered.wait(30)
    staged.close()
    # Were its number free, this file would get it, and the late write.
    victim = fs.stage("victim")
    hanging.let_go.set()
    writer.join(30)
    victim.close()
    assert (fs.read("chunk"), fs.read("victim")) == (b"late", b"")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(hanging.fd)


def test_no_second_call_starts_while_one_hangs(fs: PosixFilesystem, monkeypatch: pytest.MonkeyPatch) -> None:
    staged = fs.stage("chunk")
    hanging = Hanging(monkeypatch)
    writer = threading.Thread(target=staged.write, args=([b"late"],))
    writer.start()
    assert hanging.entered.wait(30)
    with pytest.raises(ShareFault, match="still hangs"):
        staged.write([b"second"])
    hanging.let_go.set()
    writer.join(30)
    staged.close()
    assert fs.read("chunk") == b"late"


def test_a_staged_file_nobody_holds_is_closed(fs: PosixFilesystem) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    staged = fs.stage("chunk")
    assert sorted(os.listdir("/proc/self/fd")) != before
    del staged
    assert sorted(os.listdir("/proc/self/fd")) == before


TEXT = bytes(range(256)) * 10_000


@pytest.fixture
def two_files(fs: PosixFilesystem) -> PosixFilesystem:
    fs.create_durably("from", TEXT)
    fs.create_durably("to", b"abc")
    return fs


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF])
@pytest.mark.parametrize("after", [0, 1])
def test_where_the_share_cannot_copy_it_is_done_by_hand(
    two_files: PosixFilesystem, monkeypatch: pytest.MonkeyPatch, number: int, after: int
) -> None:
    real, calls = os.copy_file_range, 0

    def refuse(source: int, destination: int, count: int, from_offset: int, to_offset: int) -> int:
        nonlocal calls
        calls += 1
        if calls > after:
            raise OSError(number, os.strerror(number))
        return real(source, destination, 1000, from_offset, to_offset)

    monkeypatch.setattr(os, "copy_file_range", refuse)
    assert two_files.copy("from", 7, "to", 3, len(TEXT)) == len(TEXT) - 7
    assert two_files.read("to") == b"abc" + TEXT[7:]
    assert calls == after + 1


def test_a_share_that_says_it_copied_nothing_is_not_believed(
    two_files: PosixFilesystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "copy_file_range", lambda *args: 0)
    assert two_files.copy("from", 7, "to", 3, 5000) == 5000
    assert two_files.read("to") == b"abc" + TEXT[7:5007]


def test_where_the_share_can_copy_no_byte_passes_through_here(
    two_files: PosixFilesystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:

        def refuse(*args: object) -> None:
            raise AssertionError

        patched.setattr(os, "pread", refuse)
        patched.setattr(os, "pwritev", refuse)
        assert two_files.copy("from", 0, "to", 0, len(TEXT)) == len(TEXT)
    assert two_files.read("to") == TEXT


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_other_trouble_in_a_copy_is_not_tried_by_hand(
    two_files: PosixFilesystem, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "copy_file_range", fail)
    with pytest.raises((ShareFault, ShareFull)):
        two_files.copy("from", 0, "to", 0, 100)


def test_a_copy_hears_of_writes_that_fail_only_on_close(
    two_files: PosixFilesystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.close

    def close(fd: int) -> None:
        path = os.readlink(f"/proc/self/fd/{fd}")
        real(fd)
        if path.endswith("/to"):
            raise OSError(errno.EDQUOT, "quota")

    with monkeypatch.context() as patched:
        patched.setattr(os, "close", close)
        with pytest.raises(ShareFull):
            two_files.copy("from", 0, "to", 0, 100)
