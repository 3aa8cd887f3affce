"""All that the service answers, put together: each example mixes requests of every protocol and of both listeners."""

from tests.fuzz.declared_rules import DeclaredAndKeyed
from tests.fuzz.draft_rules import Draft
from tests.fuzz.large_rules import Large
from tests.fuzz.manager_rules import Manager
from tests.fuzz.parts_rules import Parts
from tests.fuzz.repeated_rules import Repeated


class Surface(Parts, Draft, DeclaredAndKeyed, Large, Manager, Repeated):
    pass
