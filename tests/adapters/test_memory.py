"""What was freed between things that live on goes back to the machine."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage_proxy.adapters.memory import give_back

PIECE_BYTES = 32 << 10
PIECES = 1000

THREADS = """
import ctypes, sys, threading
from storage_proxy.adapters.memory import share_one_arena

if sys.argv[1] == "True":
    share_one_arena()
together = threading.Barrier(4)

def hold():
    held = bytes(10_000)
    together.wait()

threads = [threading.Thread(target=hold) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
library = ctypes.CDLL(None)
library.malloc_info(0, ctypes.c_void_p.in_dll(library, "stdout"))
library.fflush(None)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this C library keeps nothing back")
def test_holes_are_given_back() -> None:
    # Of one size, so that none finds a place in an older hole but where all would.
    pieces = [b"x" * PIECE_BYTES for _ in range(2 * PIECES)]
    kept = pieces[::2]
    pieces.clear()
    before = _resident()
    give_back()
    assert before - _resident() > PIECES * PIECE_BYTES // 2
    assert len(kept) == PIECES


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="this C library has no arenas to tell of")
@pytest.mark.parametrize("shared", [True, False])
def test_threads_share_one_arena_when_told_to(shared: bool) -> None:
    """In a process of its own, for it holds from then on; and by default they do not, or else it need not be said."""
    told = subprocess.run([sys.executable, "-c", THREADS, str(shared)], capture_output=True, check=True, timeout=60)
    arenas = told.stdout.count(b"<heap nr=")
    assert arenas == 1 if shared else arenas > 1
