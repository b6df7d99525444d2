"""Why somebody is not let in. Messages are for logs; a client is told no more than that it was refused.

Any thread; plain values.
"""


class AuthError(Exception):
    """Root: who asks could not be told, or is not who they say."""


class BadCredentials(AuthError):
    """A password, token, cookie or certificate that does not fit, or no longer."""


class Throttled(AuthError):
    """Too many wrong passwords: to be tried again later."""

    def __init__(self, why: str, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(why)


class Undecided(AuthError):
    """It cannot be told at the moment: the provider, or the bucket, does not answer."""
