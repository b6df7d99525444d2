"""What all tests share: plugins, and how long hypothesis tries (`--hypothesis-profile dev|ci|deep`)."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.s3"]

# A shared machine stalls now and then: time is no reason to fail an example.
settings.register_profile(
    "dev", max_examples=50, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("ci", max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dev")
