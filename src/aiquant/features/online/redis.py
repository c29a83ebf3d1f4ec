"""The online store in Redis: a hash for each version of a view, with a field for each symbol.

Two rows are compared inside the server, by one script a batch, so that writers need not know of one another. Lua
compares strings by the server's locale and holds integers up to 2⁵³ only; times are compared as pairs of 32-bit
halves instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiquant.errors import DataError, SettingsError, Unreachable, UsageError, require
from aiquant.features.online.packing import MAGIC, Packed, View
from aiquant.features.online.store import OnlineStore
from aiquant.settings import OnlineSettings

_BATCH = 500
"""Rows that one call of the script takes: the server answers nobody else meanwhile (about a millisecond)."""

_NOT_NOW = ("MISCONF", "LOADING", "BUSY", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS")
"""Beginnings of answers that another time may bring another answer."""

_PUT = """
local changed = 0
for i = 1, #ARGV, 2 do
  local old, new = redis.call('HGET', KEYS[1], ARGV[i]), ARGV[i + 1]
  local put = not old
  if old then
    if #old < 24 or string.sub(old, 1, 3) ~= '%s' then
      return redis.error_reply('FOREIGN ' .. ARGV[i])
    end
    local a = {struct.unpack('>I4I4I4I4', old, 9)}
    local b = {struct.unpack('>I4I4I4I4', new, 9)}
    put = old ~= new
    for j = 1, 4 do
      if a[j] ~= b[j] then
        put = b[j] > a[j]
        break
      end
    end
  end
  if put then
    redis.call('HSET', KEYS[1], ARGV[i], new)
    changed = changed + 1
  end
end
return changed
""" % MAGIC.decode()


class RedisStore(OnlineStore):
    """A Redis server.

    Parameters
    ----------
    settings
        Address, user, password, TLS, time limit, and the project that keeps workspaces on one server apart.

    Raises
    ------
    MissingExtra
        When the library redis is not installed.
    SettingsError
        When a file of certificates is not there.
    """

    def __init__(self, settings: OnlineSettings) -> None:
        self._redis = require("redis", "feast")
        self.settings = settings
        self._client = self._redis.Redis(**_options(settings), retry=self._retry(), decode_responses=False)
        self._put = self._client.register_script(_PUT)

    def put(self, view: View, packed: Packed) -> int:
        changed = 0
        with self._told(view):
            for start in range(0, len(packed.symbols), _BATCH):
                chosen = slice(start, start + _BATCH)
                pairs = zip(packed.symbols[chosen], packed.values[chosen], strict=True)
                changed += int(self._put(keys=[self._key(view)], args=[part for pair in pairs for part in pair]))
        return changed

    def take(self, view: View, symbols: Sequence[str]) -> list[bytes | None]:
        if not symbols:
            return []
        with self._told(view):
            found: list[bytes | None] = self._client.hmget(self._key(view), list(symbols))
        return found

    def symbols(self, view: View) -> list[str]:
        with self._told(view):
            return sorted(name.decode() for name in self._client.hkeys(self._key(view)))

    def versions(self, name: str) -> list[str]:
        view = View(name, "", ())
        with self._told(view):
            keys = [key.decode() for key in self._client.scan_iter(match=f"{self._key(view)}*", count=1000)]
        return sorted(key.removeprefix(self._key(view)) for key in keys)

    def drop(self, view: View) -> None:
        with self._told(view):
            self._client.delete(self._key(view))

    def close(self) -> None:
        self._client.close()

    def _key(self, view: View) -> str:
        return f"aiquant:{self.settings.project}:{view.name}:{view.version}"

    def _retry(self) -> Any:
        """One try more, for a connection that the server closed while it was idle."""
        backoff = require("redis.backoff", "feast").NoBackoff()
        return require("redis.retry", "feast").Retry(backoff, 1)

    @contextmanager
    def _told(self, view: View) -> Iterator[None]:
        errors = self._redis.exceptions
        at = f"Redis at {self.settings.address}"
        try:
            yield
        except (errors.AuthenticationError, errors.NoPermissionError, errors.AuthorizationError) as error:
            raise SettingsError(
                f"{at} refuses us: {error}",
                "check online.username, and the password: AIQUANT_ONLINE__PASSWORD, or online__password in the secrets",
            ) from error
        except (errors.ConnectionError, errors.TimeoutError, errors.ReadOnlyError, OSError) as error:
            if "certificate verify failed" in str(error).lower():
                raise SettingsError(
                    f"{at} shows a certificate we do not trust: {error}", "set online.ca_file"
                ) from error
            raise Unreachable(
                f"{at}, the online store, does not answer: {error}", "start it, or correct online.address"
            ) from error
        except errors.OutOfMemoryError as error:
            raise Unreachable(
                f"{at}, the online store, is full: {error}", "give it more memory, or remove old projects"
            ) from error
        except errors.ResponseError as error:
            raise self._explained(error, at, view) from error

    def _explained(self, error: Exception, at: str, view: View) -> Exception:
        text = str(error)
        if "FOREIGN" in text or "WRONGTYPE" in text:
            return DataError(
                f"{at} holds under {self._key(view)} what aiquant did not write: {text}",
                "choose another online.project, or remove that key",
            )
        if text.startswith(("NOAUTH", "WRONGPASS", "NOPERM")):
            return SettingsError(f"{at} refuses us: {text}", "set AIQUANT_ONLINE__PASSWORD and online.username")
        if text.startswith(_NOT_NOW):
            return Unreachable(f"{at}, the online store, cannot serve now: {text}", "see the server's log and memory")
        return UsageError(f"{at} says: {text}", "check that it is a Redis of version 5 or later, with Lua scripts")


def _options(settings: OnlineSettings) -> dict[str, Any]:
    """The client's options; they hold the password, so never print them."""
    host, _, port = settings.address.rpartition(":")
    options: dict[str, Any] = {
        "host": host,
        "port": int(port),
        "db": settings.database,
        "username": settings.username,
        "password": None if settings.password is None else settings.password.get_secret_value(),
        "socket_timeout": settings.timeout_seconds,
        "socket_connect_timeout": settings.timeout_seconds,
        "client_name": "aiquant",
    }
    if settings.tls:
        options.update(ssl=True, ssl_cert_reqs="required", ssl_check_hostname=True)
        for name, option in (
            ("ca_file", "ssl_ca_certs"),
            ("certificate_file", "ssl_certfile"),
            ("key_file", "ssl_keyfile"),
        ):
            path = getattr(settings, name)
            if path is not None and not Path(path).is_file():
                raise SettingsError(f"online.{name}: there is no file {path}", "correct the setting")
            options[option] = path
    return options
