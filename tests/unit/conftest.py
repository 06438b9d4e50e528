"""The profile of `make fuzz`: property tests with more cases than a test run has time for."""

from hypothesis import settings

settings.register_profile("fuzz", max_examples=5000, deadline=None)
