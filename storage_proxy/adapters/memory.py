"""Memory that this process has freed, given back to the machine.

The C library keeps what it could use again. In a burst of uploads large buffers and the small things that live on lie
side by side; when the buffers have been dropped, there are holes between the small things, as large as the burst. And
each thread takes from an arena of its own, of which a MiB stays for good. Both would be more than slow uploads need.

Rule: not by asking the kernel for each large buffer (M_MMAP_THRESHOLD): it would be given back by itself, but to have
its pages made anew each time costs a good part of what receiving takes.
"""

import ctypes

_M_ARENA_MAX = -8

# Of glibc; others have no such thing, or need none.
_library = ctypes.CDLL(None)
_malloc_trim = getattr(_library, "malloc_trim", None)
_mallopt = getattr(_library, "mallopt", None)


def share_one_arena() -> None:
    """All threads, from now on; to be said before there are any. They have the interpreter's lock when they ask for
    memory, and so never wait for each other here; and only of this arena everything can be given back."""
    if _mallopt is not None:
        _mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """All that can be. The more there is, the longer it takes; who asks for memory meanwhile waits."""
    if _malloc_trim is not None:
        _malloc_trim(0)
