"""Google's application default credentials: who one is without an API key.

    a file        named by option ``credentials`` (a service account's, a user's) or by
                  GOOGLE_APPLICATION_CREDENTIALS (workload identity federation too)
    gcloud        what ``gcloud auth application-default login`` left behind
    the machine   the metadata server, on Google's own computers

The package google-auth reads them and gets access tokens with them. That takes a
request, so it is done on a thread: while there is no token ``KeyPending`` is raised,
and a token is replaced while the old one is still good.
"""

from __future__ import annotations

import importlib
import json
import os
import threading
import time
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import Any

from .._errors import AuthenticationError, ConfigError
from ._base import KeyPending

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
# Kinds of files that may be named -> module and method that read them.
_KINDS: Mapping[str, tuple[str, str]] = {
    "service_account": ("service_account", "from_service_account_file"),
    "authorized_user": ("credentials", "from_authorized_user_file"),
}
# Seconds before its end that a token is replaced; the metadata server has no newer one
# until four minutes before.
_EARLY = 225.0
_LAST = 10.0  # seconds before its end that a token is no longer used
_LIFE = 3000.0  # of a token that does not say when it ends
_AGAIN = 1.0  # seconds after a failure that the next attempt may begin
_PAUSE = 10.0  # seconds after a success
_PATIENCE = 1.0  # seconds to wait for the machine's own word
_METADATA = "169.254.169.254"  # where Google's computers ask who they are
_LOOK = 0.01  # seconds between two looks at a token on its way
_MISSING = """\
set CLOUDSDK_AUTH_ACCESS_TOKEN, pass api_key, or for Google's application default \
credentials pip install 'llmbalance[vertex]'"""


class ApplicationDefault:
    """A key function: returns an access token that is good for a while.

    ``path``: a file of credentials; None: look where Google's own clients look.
    ``quota_project`` is what the credentials say of themselves, or "".
    Raises ConfigError when google-auth is missing or the file is no such thing.
    """

    def __init__(self, path: str | None = None) -> None:
        try:
            self._google: Any = importlib.import_module("google.auth")
            self._carrier: Any = importlib.import_module(
                "google.auth.transport.requests"
            )
        except ImportError:
            raise ConfigError("api_key", None, _MISSING) from None
        self._path = path
        told = _told(path or os.environ.get(_VARIABLE))
        self._kind = str(told.get("type", ""))
        if path is not None and self._kind not in _KINDS:
            remedy = f"for type {self._kind!r} set {_VARIABLE} instead"
            raise ConfigError("credentials", "(a file)", remedy)
        named = told.get("project_id") or told.get("quota_project_id")
        self._project = str(named or "") if told else None  # None: not asked yet
        self.quota_project = str(told.get("quota_project_id") or "")
        self._credentials: Any = None
        self._token = ""
        self._until = 0.0  # epoch seconds
        self._problem = ""
        self._not_before = 0.0
        self._busy = False
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"ApplicationDefault({self._path!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ApplicationDefault) and self._path == other._path

    def __hash__(self) -> int:
        return hash(self._path)

    @property
    def project(self) -> str:
        """The project the credentials belong to, "" when nothing tells.

        Without a file the machine is asked, once: that may take a second.
        """
        if self._project is None:
            self._project = self._machines_project()
        return self._project

    def _machines_project(self) -> str:
        if os.environ.get("NO_GCE_CHECK", "").lower() == "true":
            return ""
        named = os.environ.get("GCE_METADATA_HOST") or os.environ.get("GCE_METADATA_IP")
        host = named or _METADATA
        try:
            answer = self._carrier.Request()(
                url=f"http://{host}/computeMetadata/v1/project/project-id",
                headers={"Metadata-Flavor": "Google"},
                timeout=_PATIENCE,
            )
        except Exception:  # no such server: this is not Google's computer
            return ""
        own = answer.headers.get("Metadata-Flavor") == "Google"
        return answer.data.decode().strip() if own and answer.status == 200 else ""

    def __call__(self) -> str:
        """Return a token; KeyPending while there is none, AuthenticationError if
        none can be had."""
        now = time.time()
        with self._lock:
            left = self._until - now
            if left < _EARLY and not self._busy and now >= self._not_before:
                self._busy = True
                threading.Thread(target=self._fetch, daemon=True).start()
            if left > _LAST:
                return self._token
            if self._busy:
                raise KeyPending(_LOOK)
            raise AuthenticationError(f"no access token from Google: {self._problem}")

    def _fetch(self) -> None:
        """Get a token; on a thread of its own."""
        token, until, problem = "", 0.0, ""
        try:
            token, until = self._refresh()
        except Exception as error:  # whatever it is, the calls that wait must hear it
            said = str(error.args[0]) if error.args else ""
            problem = f"{type(error).__name__}: {said[:200]}"
        with self._lock:
            self._busy = False
            self._not_before = time.time() + (_PAUSE if token else _AGAIN)
            if token:
                self._token, self._until = token, until
            else:
                self._problem = problem

    def _refresh(self) -> tuple[str, float]:
        if self._credentials is None:
            self._credentials = self._load()
        made = self._credentials
        made.refresh(self._carrier.Request())
        expiry = made.expiry
        if expiry is None:
            return made.token, time.time() + _LIFE
        if expiry.tzinfo is None:
            expiry = expiry.replace(tzinfo=UTC)
        return made.token, expiry.timestamp()

    def _load(self) -> Any:
        if self._path is None:
            made, _ = self._google.default(scopes=_SCOPES)
            quota = getattr(made, "quota_project_id", None)
            self.quota_project = self.quota_project or quota or ""
            return made
        module, maker = _KINDS[self._kind]
        cls = importlib.import_module(f"google.oauth2.{module}").Credentials
        return getattr(cls, maker)(self._path, scopes=_SCOPES)


def _told(path: str | None) -> dict[str, Any]:
    """What a file of credentials says; of gcloud's own where none is named."""
    file = Path(path) if path else _gcloud_file()
    if not path and not file.is_file():
        return {}
    try:
        told = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        why = type(error).__name__
        remedy = f"{file} cannot be read ({why}): name a JSON file of Google's"
        raise ConfigError("credentials", "(a file)", remedy) from None
    if not isinstance(told, dict) or "type" not in told:
        remedy = f'{file} holds no credentials of Google: a "type" is missing'
        raise ConfigError("credentials", "(a file)", remedy)
    return told


def _gcloud_file() -> Path:
    folder = os.environ.get("CLOUDSDK_CONFIG") or Path.home() / ".config/gcloud"
    return Path(folder) / "application_default_credentials.json"
