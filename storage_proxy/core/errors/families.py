"""The root of all errors, and the four families by who must act. The tree is drawn in `errors/__init__.py`."""

from dataclasses import dataclass


@dataclass(eq=False)
class StorageProxyError(Exception):
    """The root; never raised itself."""

    def __post_init__(self) -> None:
        # Without this, pickling and `repr` of an exception with fields lose them.
        super().__init__(*(getattr(self, name) for name in self.__dataclass_fields__))


class Refused(StorageProxyError): ...


class Contended(StorageProxyError): ...


class Unavailable(StorageProxyError): ...


class Corrupt(StorageProxyError): ...
