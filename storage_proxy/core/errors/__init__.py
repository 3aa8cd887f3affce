"""Everything that can be refused or go wrong, in four families by who must act.

    StorageProxyError
    ├── Refused        the client must change its request            logged as info
    ├── Contended      nobody is wrong; the client comes again       logged as info
    ├── Unavailable    the operator should look                      logged as warning
    └── Corrupt        what was promised is not there; never         logged as error
                       repaired in silence, never deleted

A file per family; Refused, the largest, has three: `requests.py`, `access.py`, `uploads.py`.

Rules: a class holds facts, `__str__` makes the sentence that tells what to do, and none knows HTTP. Only leaves are
raised. Which status a leaf gets stands in one table, `server/problems.py`, and a test holds the two together.
"""

# ruff: noqa: F403 - every leaf is exported, and a test finds one row for each in the table of answers
from storage_proxy.core.errors.access import *
from storage_proxy.core.errors.contended import *
from storage_proxy.core.errors.corrupt import *
from storage_proxy.core.errors.families import *
from storage_proxy.core.errors.requests import *
from storage_proxy.core.errors.unavailable import *
from storage_proxy.core.errors.uploads import *
