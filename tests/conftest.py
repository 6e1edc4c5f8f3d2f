"""Properties are checked without a deadline: a slow machine is not a fault."""

from hypothesis import settings

settings.register_profile("without-deadline", deadline=None)
settings.load_profile("without-deadline")
