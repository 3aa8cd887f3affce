"""The suites are imported, not collected; without this a failed assertion in them would not say what it compared."""

import pytest

pytest.register_assert_rewrite("tests.contracts.filesystem")
