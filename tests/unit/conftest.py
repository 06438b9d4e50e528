"""The profiles of the property tests: no deadline, since these tests judge results, on machines
that may be busy; and that of `make fuzz`, with more cases than a test run has time for.
"""

from hypothesis import settings

settings.register_profile("tecmedhub", deadline=None)
settings.register_profile("fuzz", max_examples=5000, deadline=None)
settings.load_profile("tecmedhub")  # `--hypothesis-profile` comes later, and wins
