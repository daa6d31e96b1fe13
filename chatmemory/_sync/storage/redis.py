# Generated from chatmemory/_async/storage/redis.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Redis behind a circuit breaker: every call ends in bounded time, and after a failure no call is made for a while."""

import re
import time
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from redis import Redis, RedisCluster
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError, NoScriptError, RedisClusterException, RedisError, ResponseError
from redis.retry import Retry

from chatmemory import _forks
from chatmemory._concurrency import Background, Guard, within
from chatmemory._interrupts import postponing
from chatmemory.errors import ConfigurationError
from chatmemory.settings import Settings
from chatmemory.storage.breaker import Breaker
from chatmemory.storage.redis_deadline import reading_limits
from chatmemory.storage.redis_keys import PROBE, digest, script
from chatmemory.storage.redis_rights import COMMANDS, missing_right

# The errors that redis-py may raise, also for replies that are not of Redis. RuntimeError: the event loop has changed.
FAILURES = (
    RedisError,
    RedisClusterException,  # not a RedisError
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    KeyError,
    RuntimeError,
)
# Plain error replies, perhaps from within a script, that concern the whole server or its user and not just this key.
# For others that do, redis-py has classes; before Redis 7, an error within a script has the code in its text.
REFUSALS = re.compile(
    r"\b(READONLY|OOM|MISCONF|LOADING|NOAUTH|WRONGPASS|NOPERM|CLUSTERDOWN|MASTERDOWN)\b"
    r"|unknown command|user executing the script can't|ACL failure"
)
DROPPED_AT_ONCE = 500  # keys in one command


class Cache:
    """One Redis, behind a circuit breaker."""

    def __init__(self, url: str, settings: Settings) -> None:
        self._settings = settings
        self.url = url
        self._client: Any = None
        self._breaker = Breaker()
        self._prober = Background()
        self._stale: dict[str, float] = {}  # keys that could not be dropped, and when they expire
        self._guard = Guard()  # for _stale
        self._closed = False
        self.last_error: str | None = None
        _forks.watch(self)

    def forked(self) -> object:
        """Leave the parent's connections alone in a forked child, and connect again at the next use."""
        parents = (self._client, self._prober)
        self._client, self._prober, self._guard = None, Background(), Guard()
        return parents

    @property
    def state(self) -> str:
        """The state of the breaker: closed (Redis is used) or open (it is not)."""
        return self._breaker.state

    @property
    def is_usable(self) -> bool:
        """True if calls go through; starts a probe if one is due."""
        if self._closed:
            return False
        if not self._breaker.is_closed and self._breaker.probe_is_due(time.monotonic()):
            self._prober.start(self._probe)
        return self._breaker.is_closed

    @postponing
    def run(self, name: str, key: str, *args: Any) -> Any:
        """Run a script of lua/ on one key.

        Returns:
            The script's result; None if the breaker is open, Redis failed, or the key held another type, which is then
            dropped.
        """
        if key in self._stale:
            self.drop(key)
        if not self.is_usable:
            return None
        try:
            with within(self._settings.redis_timeout_seconds):
                return self._evaluate(name, key, args)
        except ResponseError as error:
            if type(error) is not ResponseError or REFUSALS.search(str(error)):
                self._failed(error, key)
            else:
                self.drop(key)
        except FAILURES as error:
            self._failed(error, key)
        return None

    def _evaluate(self, name: str, key: str, args: Sequence[Any]) -> Any:
        client = self._client or self._connect()
        try:
            reply = client.evalsha(digest(name), 1, key, *args)
        except NoScriptError:
            reply = client.eval(script(name), 1, key, *args)
        named, result = reply
        if named not in (key, key.encode()):
            self._client = None  # its connections are out of step
            client.close()
            raise RedisError("it answered another call")
        return result

    def drop(self, *keys: str) -> None:
        """Delete these keys; if Redis cannot do it now, before it is used again."""
        for start in range(0, len(keys), DROPPED_AT_ONCE):
            self._drop(keys[start : start + DROPPED_AT_ONCE])

    @postponing
    def _drop(self, keys: Sequence[str]) -> None:
        if not self.is_usable:
            self.remember(*keys)
            return
        try:
            with within(self._settings.redis_timeout_seconds):
                self._delete(self._client or self._connect(), *keys)
        except FAILURES as error:
            self._failed(error, *keys)

    def settle(self) -> bool:
        """Drop stale keys as far as Redis is usable; return whether some are left."""
        while (key := self._next_stale()) is not None and self.is_usable:
            self.drop(key)
        return key is not None

    def _delete(self, client: Any, *keys: str) -> None:
        until = {key: self._stale.get(key) for key in keys}
        client.delete(*keys)
        with self._guard:
            for key in keys:
                if self._stale.get(key) == until[key]:  # else it became stale again
                    self._stale.pop(key, None)

    def drop_soon(self, key: str) -> None:
        """Delete this key in the background."""
        self.remember(key)
        self._prober.start(self._probe)

    def _failed(self, error: Exception, *keys: str) -> None:
        self.last_error = _reason(error)
        if isinstance(error, RuntimeError):  # the client belongs to an event loop that has ended
            self._client = None
        self._breaker.failed(time.monotonic())
        self.remember(*keys)

    def remember(self, *keys: str) -> None:
        """Note that these keys must be deleted before Redis is used again."""
        until = time.monotonic() + self._settings.session_cache_ttl_seconds + 1
        with self._guard:
            self._stale.update(dict.fromkeys(keys, until))

    def _next_stale(self) -> str | None:
        with self._guard:
            return next(iter(self._stale), None)

    def _forget_expired(self) -> None:
        now = time.monotonic()
        with self._guard:
            self._stale = {key: until for key, until in self._stale.items() if until > now}

    @postponing
    def _probe(self) -> None:
        """See whether Redis runs scripts and holds what they store, and drop what has become stale meanwhile."""
        self._forget_expired()
        try:
            with within(self._settings.redis_timeout_seconds):
                asked = uuid4().hex
                if self._evaluate("probe", PROBE, (asked,)) not in (asked, asked.encode()):
                    raise RedisError("it did not return the stored value")
            while (key := self._next_stale()) is not None:
                with within(self._settings.redis_timeout_seconds):
                    self._delete(self._client or self._connect(), key)
        except FAILURES as error:
            self.last_error = _reason(error)
            self._breaker.failed(time.monotonic())
        else:
            self.last_error = None
            self._breaker.succeeded()

    def _connect(self) -> Any:
        """Make a client; it connects when it is used, and never retries."""
        if self._settings.redis_cluster and self.url.startswith("unix:"):
            raise ConfigurationError(
                "CHATMEMORY_REDIS_CLUSTER is on, but the Redis URL is a Unix socket, which cannot be a cluster. "
                "Use redis://host:port of one of the cluster's nodes, or turn CHATMEMORY_REDIS_CLUSTER off."
            )
        seconds = self._settings.redis_timeout_seconds / 2  # for connecting and for the answer
        options: dict[str, Any] = {
            "socket_timeout": seconds,
            "socket_connect_timeout": seconds,
            "retry": Retry(NoBackoff(), 0),
        }
        try:
            if self._settings.redis_cluster:
                self._client = RedisCluster.from_url(self.url, **options)
            else:
                self._client = Redis.from_url(self.url, **options, **reading_limits())
        except ValueError:
            raise unreadable_redis() from None
        return self._client

    def ping(self) -> bool:
        """Probe Redis now, whatever the breaker's state; return whether it works."""
        if not self._closed:
            self._probe()
        return self._breaker.is_closed and not self._closed

    @postponing
    def missing_rights(self) -> tuple[str, ...]:
        """Return the rights that Redis refuses this user, as ACL rules; none if it does not answer."""
        missing: dict[str, None] = {}  # in order, once each
        for command, arguments in COMMANDS.items():
            try:
                with within(self._settings.redis_timeout_seconds):
                    (self._client or self._connect()).execute_command(command, *arguments)
            except NoPermissionError as error:
                missing[missing_right(str(error))] = None
            except ResponseError:  # it may run the command
                continue
            except FAILURES:
                break
        return tuple(missing)

    @postponing
    def close(self) -> None:
        """Close all connections."""
        self._closed = True
        self._prober.close()
        if self._client is not None:
            client, self._client = self._client, None
            client.close()


def _reason(error: Exception) -> str:
    """Return what went wrong, without the parts of the address that an error may quote."""
    refusal = REFUSALS.search(str(error)) if isinstance(error, ResponseError) else None
    system = error if isinstance(error, OSError) else error.__cause__
    detail = refusal[0] if refusal else system.strerror if isinstance(system, OSError) else None
    return ": ".join(filter(None, (type(error).__name__, detail)))


def unreadable_redis() -> ConfigurationError:
    """Return the error for a URL that cannot be parsed; it does not show the URL."""
    return ConfigurationError(
        "The Redis URL cannot be read (it is not shown: it may hold a password). "
        "Use redis://user:password@host:6379/0, rediss://… or unix:///path/to/socket."
    )
