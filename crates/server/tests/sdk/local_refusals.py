"""What the client refuses by itself, before any request: the reason why the raw HTTP tests exist."""

import os

import vi
from report import attempt, finish

key = os.environ["DATATURE_VI_SECRET_KEY"]


def connect_with(secret_key: str) -> dict:
    return attempt(lambda: repr(vi.Client(secret_key=secret_key)))


finish({"cut": connect_with(key[:-1]), "quoted": connect_with(f'"{key}"'), "longer": connect_with(key + "a")})
