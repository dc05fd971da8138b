"""What all tests share: hypothesis without clocks, so that a busy machine fails nothing."""

from hypothesis import HealthCheck, settings

settings.register_profile("house", deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
settings.load_profile("house")
