"""A bare QEMU over QMP: what the test guest is tried with before Godwit, and what Godwit is compared with."""
import json
import pathlib
import socket
import subprocess
import time

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
GUEST = TOP / "build/testguest"


class QmpError(Exception):
    pass


class Qemu:
    """One QEMU process. `prefix` runs it elsewhere, such as in a network namespace; `work` holds its sockets and logs."""

    def __init__(self, work: pathlib.Path, name: str, args: list, memory_mib: int = 128, prefix: list | None = None,
                 preallocate: bool = False):
        self.name, self.events = name, []
        self.log = work / f"{name}.log"
        self.console = work / f"{name}.console"
        path = work / f"{name}.qmp"
        command = (prefix or []) + [
            "qemu-system-x86_64", "-nodefaults", "-display", "none", "-accel", "tcg", "-machine", "q35,memory-backend=ram",
            "-object", f"memory-backend-memfd,id=ram,size={memory_mib}M,prealloc={'on' if preallocate else 'off'}", "-m", str(memory_mib),
            "-serial", f"file:{self.console}", "-qmp", f"unix:{path},server=on,wait=off"] + args
        self.process = subprocess.Popen(command, stdout=open(self.log, "w"), stderr=subprocess.STDOUT)
        self.socket = self._connect(str(path))
        self.stream = self.socket.makefile("r")
        self._read()
        self.run("qmp_capabilities")

    def _connect(self, path: str) -> socket.socket:
        end = time.monotonic() + 10
        while True:
            s = socket.socket(socket.AF_UNIX)
            try:
                s.connect(path)
                return s
            except OSError:
                s.close()
                if self.process.poll() is not None or time.monotonic() > end:
                    raise QmpError(f"{self.name}: {self.log.read_text()}") from None
                time.sleep(0.02)

    def _read(self) -> dict:
        line = self.stream.readline()
        if not line:
            raise QmpError(f"{self.name}: QEMU is gone: {self.log.read_text()}")
        message = json.loads(line)
        if "event" in message:
            self.events.append(message)
        return message

    def run(self, command: str, **arguments):
        self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            message = self._read()
            if "return" in message:
                return message["return"]
            if "error" in message:
                raise QmpError(f"{self.name}: {command}: {message['error']['desc']}")

    def wait_event(self, name: str, seconds: float = 60, **data) -> dict:
        """The next event of that name, also one that came already; it is taken out of the list."""
        self.socket.settimeout(seconds)
        try:
            while True:
                for event in self.events:
                    if event["event"] == name and data.items() <= event.get("data", {}).items():
                        self.events.remove(event)
                        return event
                self._read()
        except TimeoutError:
            raise QmpError(f"{self.name}: no {name} {data} within {seconds} s") from None
        finally:
            self.socket.settimeout(None)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.socket.close()


def disk(overlay: pathlib.Path, backing: pathlib.Path):
    """A fresh qcow2 overlay over an image."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(backing), "-F", "qcow2", str(overlay)], check=True)


def migrate(source: Qemu, target: Qemu, uri: str, seconds: float = 60, multifd: bool = False, **parameters) -> dict:
    """The simplest correct live migration: the target waits with -S and is continued when both say completed."""
    capabilities = {"events": True, "multifd": multifd, "return-path": multifd}
    for qemu in (source, target):
        qemu.run("migrate-set-capabilities", capabilities=[{"capability": c, "state": on} for c, on in capabilities.items()])
    source.run("migrate-set-parameters", **{"max-bandwidth": 1 << 34, **parameters})
    for_both = "tls-creds", "multifd-channels"
    target.run("migrate-set-parameters", **{name: value for name, value in parameters.items() if name in for_both})
    target.run("migrate-incoming", uri=uri)
    source.run("migrate", uri=uri)
    target.wait_event("MIGRATION", seconds, status="completed")
    source.wait_event("MIGRATION", seconds, status="completed")
    target.run("cont")
    return source.run("query-migrate")
