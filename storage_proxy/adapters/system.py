"""The machine's clocks and chance.

Rules: nobody else in the house asks for the time or for a random number.
"""

import secrets
import time


class SystemClock:
    """See `ports.Clock`."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class SystemEntropy:
    """See `ports.Entropy`."""

    def token(self) -> str:
        return secrets.token_hex(16)
