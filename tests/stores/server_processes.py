"""Real servers for the tests: a Milvus and a PostgreSQL with pgvector, of the packages ``milvus`` and ``pgserver``.

Each lies in a folder, listens on the loopback address as far as its settings allow, can be killed and started again on
the same folder, and is ended by its process group alone. A server that is there already is used instead where
``CBIR_TEST_MILVUS_URI`` or ``CBIR_TEST_PG_URI`` names it; it is then never killed.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

WAIT = 120  # seconds until a server that is starting has failed


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Milvus:
    """The server of the package ``milvus`` (2.3.5): etcd, a message queue and all roles in one process."""

    ROLES = ("rootCoord", "proxy", "queryCoord", "queryNode", "indexNode", "dataCoord", "dataNode")

    def __init__(self, folder):
        from milvus import MilvusServerConfig, _initialize_data_files

        self.folder, self.metrics, self.process = Path(folder), free_port(), None
        config = MilvusServerConfig(data_dir=str(folder))
        config.RANDOM_PORT_START = 0
        for role in self.ROLES:
            config.set(f"{role}.ip", "127.0.0.1")
        for key in [key for key in config.configurable_items if key.endswith("_port")]:
            config.configs[key] = free_port()
        config.resolve()
        _initialize_data_files(config.base_data_dir)
        self.uri = f"http://127.0.0.1:{config.get('proxy_port')}"

    def start(self):
        binary = self.folder / "bin" / "milvus"
        variables = {
            **os.environ,
            "DEPLOY_MODE": "STANDALONE",
            "METRICS_PORT": str(self.metrics),
            "MILVUS_RUN_DIR": str(self.folder / "run"),
            "LD_LIBRARY_PATH": str(binary.parent),
        }
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                [binary, "run", "standalone"],
                cwd=self.folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        _wait(self._healthy, self.process)

    def _healthy(self):
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/healthz") as said:
            return b"OK" in said.read()
        return False

    def kill(self):
        """End the server and its children at once, as a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Postgres:
    """The PostgreSQL 16 with vector 0.6.2 of the package ``pgserver``, with a password."""

    PASSWORD = "correct horse"

    def __init__(self, folder):
        import pgserver

        self.folder, self.port, self.process = Path(folder), free_port(), None
        package = Path(pgserver.__file__).parent
        self._bin = package / "pginstall" / "bin"
        self._user = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root, and another user may not see root's files
            import pwd

            for name in (package.name, f"{package.name}.libs"):  # its libraries lie beside it
                if (package.parent / name).is_dir():
                    shutil.copytree(package.parent / name, self.folder / name)
            self._bin = self.folder / package.name / "pginstall" / "bin"

            nobody = pwd.getpwnam("nobody")
            self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        password = self.folder / "password"
        password.write_text(self.PASSWORD)
        self.data = self.folder / "data"
        command = [self._bin / "initdb", "-D", self.data, "-U", "cbir", "-A", "scram-sha-256", "-E", "UTF8"]
        self._run([*command, f"--pwfile={password}", "--no-instructions", "--locale=C"])
        self.uri = f"postgresql://cbir:{self.PASSWORD.replace(' ', '%20')}@127.0.0.1:{self.port}/postgres"

    def _run(self, command):
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, **self._user)

    def start(self):
        with contextlib.suppress(FileNotFoundError):
            (self.data / "postmaster.pid").unlink()  # of a server that was killed
        settings = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.folder}"]
        self.process = subprocess.Popen(
            [self._bin / "postgres", "-D", self.data, "-p", str(self.port), *settings],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **self._user,
        )
        _wait(self._answers, self.process)

    def _answers(self):
        import psycopg

        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.uri, connect_timeout=5):
            return True
        return False

    kill = Milvus.kill


def _wait(ready, process):
    end = time.monotonic() + WAIT
    while not ready():
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with status {process.returncode}")
        if time.monotonic() > end:
            raise RuntimeError(f"the server did not start within {WAIT} seconds")
        time.sleep(0.2)


def remove(server):
    """End a server and remove what it wrote."""
    server.kill()
    shutil.rmtree(server.folder, ignore_errors=True)
