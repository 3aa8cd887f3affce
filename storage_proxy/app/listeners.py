"""Everybody who hears what happens."""

from storage_proxy.core.events import Fact
from storage_proxy.ports import Listener


class Everybody:
    """See `ports.Listener`: each hears each fact, in this order."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners

    def hear(self, fact: Fact) -> None:
        for listener in self._listeners:
            listener.hear(fact)
