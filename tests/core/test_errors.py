"""Every leaf of the error tree holds facts and says in a sentence what to do."""

import copy
import dataclasses
import pickle
import typing

import pytest

from storage_proxy.core import errors
from storage_proxy.core.errors import Contended, Corrupt, Refused, StorageProxyError, Unavailable

FAMILIES = (Refused, Contended, Unavailable, Corrupt)

# One value for each kind of fact; a leaf with a new kind of fact fails here until it has one.
EXAMPLES: dict[object, object] = {
    str: "Example",
    int: 5,
    float: 2.5,
    bool: True,
    tuple[str, ...]: ("first", "second"),
}

# The facts that are a client's own text. What it says of itself must not reach a terminal or a header unescaped.
CLIENT_TEXTS = [
    (errors.HeaderMalformed, "received"),
    (errors.VersionUnsupported, "received"),
    (errors.MediaTypeUnsupported, "received"),
    (errors.ChecksumUnknown, "algorithm"),
    (errors.TargetNotAllowed, "path"),
    (errors.TargetExists, "path"),
]


def descendants(parent: type[StorageProxyError]) -> list[type[StorageProxyError]]:
    return [one for child in parent.__subclasses__() for one in (child, *descendants(child))]


LEAVES = [one for one in descendants(StorageProxyError) if one not in FAMILIES]


def example(kind: object, absent: bool) -> object:
    alternatives = set(typing.get_args(kind)) - {type(None)}
    if kind in EXAMPLES or type(None) not in typing.get_args(kind):
        return EXAMPLES[kind]
    return None if absent else EXAMPLES[alternatives.pop()]


def build(
    leaf: type[StorageProxyError], absent: bool = False, told: dict[str, object] | None = None
) -> StorageProxyError:
    """An error with an example for each fact; `absent`: without those that may be unknown."""
    kinds = typing.get_type_hints(leaf)
    examples = {field.name: example(kinds[field.name], absent) for field in dataclasses.fields(leaf)}
    return leaf(**(examples | (told or {})))


def facts(error: StorageProxyError) -> dict[str, object]:
    return {field.name: getattr(error, field.name) for field in dataclasses.fields(error)}


@pytest.fixture(params=LEAVES, ids=lambda leaf: leaf.__name__)
def leaf(request: pytest.FixtureRequest) -> type[StorageProxyError]:
    found: type[StorageProxyError] = request.param
    return found


def test_the_tree_has_four_families_and_leaves_in_each() -> None:
    assert set(StorageProxyError.__subclasses__()) == set(FAMILIES)
    assert all(family.__subclasses__() for family in FAMILIES)
    assert len(LEAVES) == len({leaf.__name__ for leaf in LEAVES})


def test_a_leaf_is_a_dataclass_of_its_own_in_exactly_one_family(leaf: type[StorageProxyError]) -> None:
    assert sum(issubclass(leaf, family) for family in FAMILIES) == 1
    assert leaf.__bases__[0] in FAMILIES
    assert "__dataclass_fields__" in vars(leaf)
    assert not leaf.__subclasses__()
    assert getattr(errors, leaf.__name__) is leaf


@pytest.mark.parametrize("absent", [False, True])
def test_a_leaf_says_a_sentence_of_its_own(leaf: type[StorageProxyError], absent: bool) -> None:
    sentence = str(build(leaf, absent))
    assert sentence.endswith(".")
    assert not sentence.endswith("..")
    assert sentence[0].isupper()
    assert sentence.isprintable()
    assert "{" not in sentence
    assert "None" not in sentence
    assert "__str__" in vars(leaf), "the sentence is the leaf's own"


def test_a_leaf_keeps_its_facts_when_it_is_pickled_copied_and_shown(leaf: type[StorageProxyError]) -> None:
    error = build(leaf)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):  # noqa: S301 our own bytes
        assert type(twin) is leaf
        assert facts(twin) == facts(error)
        assert str(twin) == str(error)
    for name, value in facts(error).items():
        assert f"{name}={value!r}" in repr(error)
    assert error.args == tuple(facts(error).values())


def test_a_leaf_can_be_raised_noted_and_kept_in_a_set(leaf: type[StorageProxyError]) -> None:
    error = build(leaf)
    with pytest.raises(leaf) as caught:
        raise error
    assert caught.value is error
    # Two failures with the same facts are two failures.
    assert len({build(leaf), build(leaf)}) == 2
    caught.value.add_note("while testing")


@pytest.mark.parametrize(("leaf", "fact"), CLIENT_TEXTS, ids=lambda value: getattr(value, "__name__", value))
def test_a_sentence_shows_a_clients_text_without_its_control_characters(
    leaf: type[StorageProxyError], fact: str
) -> None:
    sentence = str(build(leaf, told={fact: "a\r\nSet-Cookie: x\x00\x1b[31m\ud800"}))
    assert sentence.isprintable()
    sentence.encode()
