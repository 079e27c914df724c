"""`godwit server` by itself, and what talks to it: curl, kubectl, a raw watch."""
import base64
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import time

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
GODWIT = pathlib.Path(os.environ.get("GODWIT_BUILD", TOP / "build/gcc")) / "src/godwit"
KUBECTL = TOP / "build/tools/bin/kubectl"


def versions_of(name):
    """Of a client, by version; those of npm are there only where setup found npm."""
    return {p.name.partition("-")[2]: p for p in sorted(KUBECTL.parent.glob(f"{name}-*"))}


KUBECTLS = {"1.32": KUBECTL} | versions_of("kubectl")
HELMS = versions_of("helm")

# A VM that is not started, by its name.
VM = """
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: %s, labels: {app: demo}}
spec:
  runStrategy: Halted
  template:
    spec:
      domain:
        devices: {disks: [{name: system, disk: {bus: virtio}}]}
        memory: {guest: 128Mi}
      volumes: [{name: system, containerDisk: {image: testguest}}]
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, folder: pathlib.Path, *options):
        self.dir = folder / "data"
        self.home = folder
        self.options = options
        self.port = free_port()
        self.child = None

    def start(self):
        env = dict(os.environ, NOTIFY_SOCKET="")
        self.child = subprocess.Popen([GODWIT, "server", f"--data-dir={self.dir}", f"--listen=127.0.0.1:{self.port}", *self.options],
                                      stderr=open(self.home / "log", "a"), env=env)
        end = time.monotonic() + 20
        while self.curl("/readyz")[0] != 200:
            assert self.child.poll() is None, (self.home / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)

    def stop(self, number=signal.SIGTERM) -> int:
        self.child.send_signal(number)
        return self.child.wait(timeout=20)

    def curl(self, path, *options, ca=None):
        """HTTP code and body; code 0 when there was no answer."""
        got = subprocess.run(["curl", "-s", "-w", "\n%{http_code}", "--cacert", ca or self.dir / "ca.crt", *options,
                              f"https://127.0.0.1:{self.port}{path}"], capture_output=True, text=True, timeout=30)
        body, code = got.stdout.rsplit("\n", 1)
        return int(code), body

    def kubectl(self, *args, text=None, ok=True) -> str:
        env = dict(os.environ, KUBECONFIG=str(self.dir / "admin.kubeconfig"), HOME=str(self.home))
        got = subprocess.run([KUBECTL, *args], input=text, capture_output=True, text=True, timeout=60, env=env)
        assert (got.returncode == 0) == ok, got.stdout + got.stderr
        return got.stdout if ok else got.stdout + got.stderr

    def credentials(self):
        """The administrator's certificate and key, as files."""
        user = json.loads((self.dir / "admin.kubeconfig").read_text())["users"][0]["user"]
        for name in ("certificate", "key"):
            (self.home / f"admin.{name}").write_bytes(base64.b64decode(user[f"client-{name}-data"]))
        return "--cert", self.home / "admin.certificate", "--key", self.home / "admin.key"


class Watch:
    """A raw watch over TLS, to see lines as they come."""

    def __init__(self, server, path):
        server.credentials()
        context = ssl.create_default_context(cafile=server.dir / "ca.crt")
        context.load_cert_chain(server.home / "admin.certificate", server.home / "admin.key")
        self.socket = context.wrap_socket(socket.create_connection(("127.0.0.1", server.port)), server_hostname="127.0.0.1")
        self.socket.settimeout(10)
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        self.file = self.socket.makefile("rb")
        assert b" 200 " in self.file.readline()
        while self.file.readline() != b"\r\n":
            pass
        self.rest = b""

    def next(self):
        """The next event, or None at the end of the stream. A chunk may hold several, or a part of one."""
        while b"\n" not in self.rest:
            size = int(self.file.readline() or b"0", 16)
            self.rest += self.file.read(size)
            self.file.readline()
            if size == 0:
                return None
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)
