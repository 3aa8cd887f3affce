"""Settings: read once, frozen, handed down as plain values.

Rules: what may be said is `sections.py`; how sizes, times and addresses are spelled is `spellings.py`; which parts do
not go together is `rules.py`; where values come from, and the words for what is wrong with them, is `loading.py`; the
page that tells people all of it is made by `reference.py`.
No text made from settings (repr, dump, error) ever holds a secret.
"""

from storage_proxy.settings.loading import Problem, SettingsError, embedded, load
from storage_proxy.settings.sections import Settings
from storage_proxy.settings.spellings import Address

__all__ = ["Address", "Problem", "Settings", "SettingsError", "embedded", "load"]
