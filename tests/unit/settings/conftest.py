"""No deadline for examples: these tests judge results, on machines that may be busy."""

from hypothesis import settings

settings.register_profile("tecmedhub", deadline=None)
settings.load_profile("tecmedhub")
