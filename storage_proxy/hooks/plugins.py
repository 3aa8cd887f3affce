"""A receiver in this process: an object that an installed package names as entry point of `storage_proxy.hooks`.

Rules: its methods are the hooks' names with `_` for `-` (`pre_create`, `post_finish` ...); the ones it has are the
hooks it wants. A method takes the document and gives the reply, both as in `documents.py`, or None. A coroutine
function is awaited; a plain function runs in a thread, so that it may block. What it raises is no answer, and is
logged with its traceback: it is code of the operator's own.
"""

import asyncio
import inspect
from collections.abc import Sequence
from importlib.metadata import entry_points

import structlog

from storage_proxy.core.errors import HookFailed
from storage_proxy.hooks.documents import Document

GROUP = "storage_proxy.hooks"


class PluginMissing(Exception):
    """A sentence for the person who starts the service."""


class Plugin:
    def __init__(self, name: str, hooks: object, seconds: float) -> None:
        self._name = name
        self._hooks = hooks
        self._seconds = seconds

    def wants(self, kind: str) -> bool:
        return callable(getattr(self._hooks, _method(kind), None))

    async def send(self, document: Document) -> object:
        kind = document["Type"]
        act = getattr(self._hooks, _method(kind))
        try:
            async with asyncio.timeout(self._seconds):
                if inspect.iscoroutinefunction(act):
                    return await act(document)
                return await asyncio.to_thread(act, document)
        except TimeoutError:
            raise HookFailed(hook=kind, reason=f"did not answer in {self._seconds:g} s") from None
        except Exception as error:
            structlog.get_logger().exception("plugin_failed", plugin=self._name, hook=kind)
            raise HookFailed(hook=kind, reason=f"failed ({type(error).__name__})") from error


def load(names: Sequence[str], seconds: float) -> list[Plugin]:
    """Those of the installed entry points that the settings name, in their order. PluginMissing."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    plugins = []
    for name in names:
        if name not in found:
            known = ", ".join(sorted(found)) or "none"
            raise PluginMissing(
                f"no installed package has an entry point {name!r} in the group {GROUP} ({known} found)"
            )
        named = found[name].load()
        # A class is made here, once; a module or an object is taken as it is.
        plugins.append(Plugin(name, named() if inspect.isclass(named) else named, seconds))
    return plugins


def _method(kind: str) -> str:
    return kind.replace("-", "_")
