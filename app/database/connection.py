"""Connections to the database that devices share. psycopg is an optional package, which only this package imports."""

from __future__ import annotations

import contextlib
import functools
import math
import re
import time
from typing import TYPE_CHECKING, Any, Dict, Generator, Iterator, Set, Tuple, Type, TypeVar, cast

from app.credentials import for_opening, has_secret, masked, read_secret, with_secrets, without_secrets
from app.errors import DatabaseError, RejectedRowError, SettingsError
from app.settings import FleetSettings
from app.text import install_hint, program

if TYPE_CHECKING:
    from psycopg import Connection as Psycopg

    Connection = Psycopg[Tuple[Any, ...]]
else:
    Connection = Any

OLDEST_SERVER = 15
CLIENT_GRACE_S = 1.0
"""How much longer than the server's own limit a statement may take until the connection is given up."""
T = TypeVar("T")

_SCHEMES = ("postgresql://", "postgres://")


def require_database(settings: FleetSettings) -> str:
    """The address as it is in the settings. Raises SettingsError for none, or one that cannot be used."""
    address = settings.database
    if address is None:
        raise SettingsError(
            "fleet.database is not set; expected the address of a PostgreSQL database, such as "
            "postgresql://faces@db.example.org/faces?sslmode=verify-full (docs/fleet.md)"
        )
    if not address.startswith(_SCHEMES):
        raise SettingsError(f"fleet.database = {masked(address)!r}: expected an address that begins with {_SCHEMES[0]}")
    if settings.password is not None and has_secret(address):
        raise SettingsError("fleet.database has a password, and so has fleet.password: keep one of them")
    return address


def require_driver() -> None:
    """Raises SettingsError where psycopg is not installed."""
    try:
        import psycopg  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise SettingsError(f"fleet.database needs psycopg: {install_hint('psycopg[binary]')}") from error


def connect(settings: FleetSettings, device: str = "") -> Connection:
    """A connection in autocommit mode: `with connection.transaction():` begins and ends a transaction.

    Raises SettingsError for what the user has to correct, and DatabaseError where it may work later.
    """
    address, where = require_database(settings), masked_address(settings)
    require_driver()
    import psycopg

    timeout_s = max(2, round(settings.timeout_s))
    options: Dict[str, Any] = {
        "connect_timeout": timeout_s,
        "application_name": f"face-recognition {device}".strip()[:63],
        # A cable that was pulled sends no end of the connection.
        "keepalives_idle": timeout_s,
        "keepalives_interval": timeout_s,
        "keepalives_count": 2,
        "tcp_user_timeout": 1000 * timeout_s,
    }
    if settings.password is not None:
        options["password"] = read_secret(settings.password, "fleet.password")
    opened = for_opening(with_secrets(address, "fleet.database"))
    with contextlib.ExitStack() as unusable:
        try:
            connection: Connection = _bounded_class().connect(opened, autocommit=True, **options)
            unusable.callback(connection.close)
            connection.limit_s = settings.timeout_s + CLIENT_GRACE_S  # type: ignore[attr-defined]
            # The server has to notice it, too, that a device is gone: it would keep its locks for two hours.
            connection.execute(
                f"set statement_timeout = {round(1000 * settings.timeout_s)}; set tcp_keepalives_idle = {timeout_s}; "
                f"set tcp_keepalives_interval = {timeout_s}; set tcp_keepalives_count = 2; "
                f"set tcp_user_timeout = {1000 * timeout_s}"
            )
        except psycopg.Error as error:
            reason = without_secrets(_reasons(str(error)), address, "fleet.database")
            raise DatabaseError(f"{where} cannot be opened: {masked(reason)}") from error
        version = connection.info.server_version // 10_000
        if version < OLDEST_SERVER:
            raise DatabaseError(f"{where} is PostgreSQL {version}; expected {OLDEST_SERVER} or newer")
        unusable.pop_all()
    return connection


@functools.lru_cache(maxsize=None)
def _bounded_class() -> Type[Connection]:
    """Connections that end when the server says nothing for too long.

    A server that is stopped or swaps keeps its connections open, and the kernel of its machine goes on answering, so
    that neither its own limit nor that of TCP comes into effect.
    """
    import psycopg

    class BoundedConnection(psycopg.Connection):
        limit_s = math.inf

        def wait(self, gen: Generator[Any, Any, T], *rest: Any, **options: Any) -> T:
            return super().wait(self._bounded(gen), *rest, **options)

        def _bounded(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
            heard_at = time.monotonic()
            try:
                wanted = next(gen)
                while True:
                    is_ready = yield wanted
                    if is_ready:
                        heard_at = time.monotonic()
                    elif time.monotonic() - heard_at > self.limit_s:
                        gen.close()
                        self.close()  # so that nothing waits for it once more
                        raise psycopg.OperationalError(f"the server has not answered for {self.limit_s:g} s")
                    wanted = gen.send(is_ready)
            except StopIteration as done:
                return cast(T, done.value)

    return BoundedConnection


@contextlib.contextmanager
def unlimited(connection: Connection) -> Iterator[None]:
    """In a transaction whose statements may take long."""
    limit_s: float = connection.limit_s  # type: ignore[attr-defined]
    connection.limit_s = math.inf  # type: ignore[attr-defined]
    connection.execute("set local statement_timeout = 0")
    try:
        yield
    finally:
        connection.limit_s = limit_s  # type: ignore[attr-defined]


@contextlib.contextmanager
def connected(settings: FleetSettings, device: str = "") -> Iterator[Connection]:
    """A connection that is closed at the end; what goes wrong meanwhile is raised as DatabaseError."""
    with contextlib.closing(connect(settings, device)) as connection, reported(settings):
        yield connection


def require_usable(settings: FleetSettings) -> None:
    """At the start of a program: raises SettingsError for what would never work. The server need not be there."""
    if settings.database is not None:
        address = require_database(settings)
        with_secrets(address, "fleet.database")
        if settings.password is not None:
            read_secret(settings.password, "fleet.password")
        require_driver()


def listen(connection: Connection, channel: str) -> None:
    connection.execute(f'listen "{channel}"'.encode())


def rings(connection: Connection, wait_s: float) -> Set[str]:
    """Waits for notifications; the channels of those that came."""
    found = {one.channel for one in connection.notifies(timeout=wait_s, stop_after=1)}
    # More of them may have come together; they are for the same look at the tables.
    return found | {one.channel for one in connection.notifies(timeout=0)} if found else found


@contextlib.contextmanager
def reported(settings: FleetSettings) -> Iterator[None]:
    """Raises errors of the database as DatabaseError, and as RejectedRowError where the values are the reason."""
    import psycopg

    where = masked_address(settings)
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise DatabaseError(f"{where}: {_first_line(error)}; see the roles in docs/fleet.md") from error
    except psycopg.DataError as error:
        raise RejectedRowError(f"{where}: {_first_line(error)}") from error
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction) as error:
        raise DatabaseError(
            f"{where}: {_first_line(error)}; prepare the database with: {program()} fleet init, or migrate"
        ) from error
    except psycopg.Error as error:
        raise DatabaseError(f"{where}: {_first_line(error)}") from error


def masked_address(settings: FleetSettings) -> str:
    """The address without its password, for messages."""
    return masked(settings.database or "")


def _reasons(text: str) -> str:
    """What libpq says, in one line and once: it repeats itself for each address of a host, and indents its guesses."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(("\t", " "))]
    attempts = [line for line in lines if line.startswith("- host: ")]
    reasons = [re.sub("^(- host: .*?, hostaddr: .*?: )?(connection failed: )?", "", line) for line in attempts or lines]
    return "; ".join(dict.fromkeys(reasons))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
