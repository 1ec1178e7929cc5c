"""What `cargo xtask load --beside drf` measures: djangorestframework-api-key behind gunicorn, with its keys in SQLite.

`drf.py FOLDER KEYS SAMPLE` makes the database in FOLDER and the keys, and writes the texts of some of them into FOLDER/texts. Then
`gunicorn --config drf.py drf:application`, with FOLDER in the environment as DRF_FOLDER, serves, and writes where into FOLDER/address.
It is set up in its own favour: no logs, no middleware, no other authentication, a database connection that is kept.
"""

import os
import pathlib
import secrets
import sys

import django
from django.conf import settings

folder = pathlib.Path(os.environ.get("DRF_FOLDER") or sys.argv[1])

BATCH = 10_000

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": folder / "keys.db",
                "CONN_MAX_AGE": None,
                "OPTIONS": {"init_command": "PRAGMA journal_mode=wal; PRAGMA mmap_size=1073741824"},
            }
        },
        INSTALLED_APPS=["rest_framework", "rest_framework_api_key"],
        MIDDLEWARE=[],
        LOGGING_CONFIG=None,
        REST_FRAMEWORK={
            "DEFAULT_AUTHENTICATION_CLASSES": [],
            "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
            "UNAUTHENTICATED_USER": None,
        },
        ROOT_URLCONF=__name__,
        SECRET_KEY=secrets.token_hex(32),
        USE_TZ=True,
    )
    django.setup()

from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402
from rest_framework_api_key.models import APIKey  # noqa: E402
from rest_framework_api_key.permissions import HasAPIKey, KeyParser  # noqa: E402


class BearerParser(KeyParser):
    """The header that everything else in the comparison reads."""

    keyword = "Bearer"


class HasBearerKey(HasAPIKey):
    key_parser = BearerParser()


class Verify(APIView):
    permission_classes = [HasBearerKey]

    def get(self, request):
        return Response(status=204)


urlpatterns = [path("v1/verify", Verify.as_view())]
application = get_wsgi_application()

# gunicorn's settings.
bind = "127.0.0.1:0"
workers = 2
worker_class = "gthread"
threads = 4
loglevel = "error"


def when_ready(server):
    host, port = server.LISTENERS[0].sock.getsockname()
    # Renamed when it is whole: whoever waits for the file reads all of it.
    unfinished = folder / "address.part"
    unfinished.write_text(f"{host}:{port}")
    unfinished.rename(folder / "address")


def make_key():
    """A key as `APIKey.objects.create_key` makes it, and its row, without asking whether the name is taken."""
    key = APIKey(name="load")
    text, key.prefix, key.hashed_key = APIKey.objects.key_generator.generate()
    key.pk = f"{key.prefix}.{key.hashed_key}"
    return text, key


def main():
    keys, sample = int(sys.argv[2]), int(sys.argv[3])
    call_command("migrate", verbosity=0)
    texts = []
    for done in range(0, keys, BATCH):
        made = [make_key() for _ in range(min(BATCH, keys - done))]
        APIKey.objects.bulk_create([key for _, key in made])
        texts.extend(text for text, _ in made[: max(0, sample - len(texts))])
    (folder / "texts").write_text("\n".join(texts) + "\n")


if __name__ == "__main__":
    main()
