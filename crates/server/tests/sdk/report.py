"""How the scripts of this folder tell the Rust test what the client did: JSON on the last line of stdout."""

import json

from vi.client.errors import ViError


def failure(error: ViError) -> dict:
    """What a user's program can see of a refused call."""
    return {
        "type": type(error).__name__,
        "error_code": error.error_code.value,
        "status_code": error.status_code,
        "message": error.message,
        "shown": str(error),
        "trace_id": error.trace_id,
    }


def attempt(call) -> dict:
    """Makes one call; either what it returned or how it failed. Anything but the client's own errors is a defect
    of the script or of the client, and ends the script with its traceback."""
    try:
        return {"returned": call()}
    except ViError as error:
        return {"failed": failure(error)}


def finish(facts) -> None:
    print(json.dumps(facts))
