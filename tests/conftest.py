"""What holds for every test."""

from hypothesis import settings

# A machine that is busy with something else must not turn a test red: hypothesis times no example here.
settings.register_profile("storage-proxy", deadline=None)
settings.load_profile("storage-proxy")
