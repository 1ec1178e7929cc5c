"""A program that lists datasets without end, with the key in a file that it reads again before each request.

Takes the file's path as its argument. Prints a line for each request: its number, `answered` or `failed`, and the last
characters of the key. A line on stdin ends it. Nothing is tried twice, so that no failure is hidden.
"""

import pathlib
import sys
import threading
import time

import vi
from report import attempt, finish

key_file = pathlib.Path(sys.argv[1])
is_told_to_end = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), is_told_to_end.set()), daemon=True).start()

client, used = None, None
answered, failures = 0, []
while not is_told_to_end.is_set():
    key = key_file.read_text().strip()
    if key != used:
        client, used = vi.Client(secret_key=key, max_retries=0), key
    outcome = attempt(lambda: len([dataset.name for dataset in client.datasets]))
    if "failed" in outcome:
        failures.append(outcome["failed"])
    else:
        answered += 1
    print(answered + len(failures), "failed" if "failed" in outcome else "answered", key[-4:])
    time.sleep(0.02)

finish({"answered": answered, "failures": failures})
