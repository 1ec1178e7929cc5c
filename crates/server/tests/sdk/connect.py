"""Makes a client from the environment and asks for its organization: the call that tells whether a key works.

With the argument `until-refused` it asks again until the answer is a refusal, for a key that ends by itself.
"""

import sys
import time

import vi
from report import attempt, finish

PATIENCE_SECONDS = 60

client = vi.Client()


def connect() -> dict:
    return attempt(lambda: client.organizations.get().organization_id)


outcome = connect()
if "until-refused" in sys.argv:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while "failed" not in outcome and time.monotonic() < deadline:
        time.sleep(0.05)
        outcome = connect()

finish(outcome)
