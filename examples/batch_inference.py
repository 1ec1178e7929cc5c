"""Batch inference behind a key: many images, and the caller's key is checked for each of them.

A service like this one keeps no list of keys and no copy of what they may do. It asks Keyward, over connections that it keeps open, and
gets the answer from memory. So a key that is deleted, paused or narrowed while a batch runs ends the batch at its next image, and not at
the next morning's refresh of some cache.

    KEYWARD_URL=http://127.0.0.1:8787 KEYWARD_KEY=dtvi_... python3 batch_inference.py --images 5000 --workers 8

Ends with 0 when every image was done, with 1 when the key was refused (what was done before stays done, and is counted), with 2 when it was
called wrongly, with 3 when the server could not be asked.
"""

import argparse
import hashlib
import http.client
import json
import os
import sys
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor


class Refused(Exception):
    """The key is not accepted; says why, in Keyward's words."""


class Unavailable(Exception):
    """Nobody can say whether the key is accepted; nothing is wrong with it."""


class Keyward:
    """Checks keys, over one kept connection for each thread."""

    ATTEMPTS = 3

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        self._connect = {
            "http": http.client.HTTPConnection,
            "https": http.client.HTTPSConnection,
        }[parts.scheme]
        self._address = parts.netloc
        self._of_thread = threading.local()

    def check(self, key: str) -> str:
        """The organization of an accepted key. A server that is busy is asked again when it says so."""
        for attempt in range(self.ATTEMPTS):
            try:
                status, headers, body = self._ask(key)
            except (OSError, http.client.HTTPException) as error:
                # The connection may have been closed; a new one is tried.
                self._of_thread.connection = None
                why = Unavailable(str(error))
                continue
            if status == 204:
                return headers["keyward-organization-id"]
            problem = json.loads(body)
            why = Refused(f"{problem['code']}: {problem['detail']}")
            if status == 503:
                why = Unavailable(str(why))
            elif status != 429:
                break
            if attempt + 1 < self.ATTEMPTS:
                time.sleep(int(headers.get("retry-after", "1")))
        raise why

    def _ask(self, key: str):
        connection = getattr(self._of_thread, "connection", None)
        if connection is None:
            connection = self._connect(self._address, timeout=10)
            self._of_thread.connection = connection
        connection.request("GET", "/v1/verify", headers={"Authorization": f"Bearer {key}"})
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def predict(image: bytes) -> str:
    """Stands where your model is called; some milliseconds of arithmetic that depend on the image."""
    digest = image
    for _ in range(2_000):
        digest = hashlib.sha256(digest).digest()
    return ("cat", "dog", "bird", "nothing")[digest[0] % 4]


class Batch:
    """What was done so far, and what it took."""

    def __init__(self, keyward: Keyward, key: str) -> None:
        self._keyward = keyward
        self._key = key
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.stopped: Refused | Unavailable | None = None
        self.done = 0
        self.checking = 0.0
        self.predicting = 0.0

    def one(self, number: int) -> None:
        if self._stop.is_set():
            return
        begun = time.perf_counter()
        try:
            self._keyward.check(self._key)
        except (Refused, Unavailable) as why:
            self.stopped = why
            self._stop.set()
            return
        checked = time.perf_counter()
        predict(number.to_bytes(8, "big") * 512)
        with self._lock:
            self.done += 1
            self.checking += checked - begun
            self.predicting += time.perf_counter() - checked


def main() -> int:
    parser = argparse.ArgumentParser(description="Batch inference behind a key.")
    parser.add_argument("--images", type=int, default=5_000)
    parser.add_argument("--workers", type=int, default=8)
    options = parser.parse_args()
    missing = [name for name in ("KEYWARD_URL", "KEYWARD_KEY") if not os.environ.get(name)]
    if missing:
        parser.error(f"set {' and '.join(missing)}: `keyward quickstart` prints both")

    batch = Batch(Keyward(os.environ["KEYWARD_URL"]), os.environ["KEYWARD_KEY"])
    begun = time.perf_counter()
    with ThreadPoolExecutor(options.workers) as pool:
        # The results are asked for, so that what goes wrong in a worker is not lost.
        for _ in pool.map(batch.one, range(options.images)):
            pass
    seconds = time.perf_counter() - begun

    share = batch.checking / max(batch.checking + batch.predicting, 1e-9)
    print(f"{batch.done} of {options.images} images in {seconds:.1f} s, {batch.done / seconds:.0f} a second")
    print(f"checking the key took {share:.0%} of the workers' time")
    if batch.stopped is None:
        return 0
    print(f"stopped: {batch.stopped}", file=sys.stderr)
    return 1 if isinstance(batch.stopped, Refused) else 3


if __name__ == "__main__":
    sys.exit(main())
