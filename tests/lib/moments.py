"""Catches a migration at an exact moment, from outside: agents write a note before each step of the hand-over (inotify tells
within a fraction of a millisecond), and each QEMU has a spare QMP socket that tells its events. Nothing in Godwit knows of it."""
import contextlib
import ctypes
import json
import os
import pathlib
import select
import signal
import socket
import struct
import time

from cluster import Cluster, Vm

IN_MOVED_TO, IN_CREATE, IN_NONBLOCK = 0x80, 0x100, 0o4000
WORDS = {"handover.json": "note", "pod.json": "step"}  # what says how far it has come (src/migration/note.h, src/agent/core/steps.h)
libc = ctypes.CDLL(None, use_errno=True)


class Notes:
    """The notes of a cluster's agents as they are written."""

    def __init__(self, cluster: Cluster):
        self.fd, self.folders = libc.inotify_init1(IN_NONBLOCK), {}
        for node in cluster.nodes:
            for path in [pods := cluster.dir / "nodes" / node / "pods", *pods.iterdir()]:
                self.watch(path)

    def watch(self, path: pathlib.Path):
        self.folders[libc.inotify_add_watch(self.fd, os.fsencode(path), IN_MOVED_TO | IN_CREATE)] = path

    def events(self):
        with contextlib.suppress(BlockingIOError):
            data = os.read(self.fd, 1 << 16)
            while data:
                number, _, _, length = struct.unpack("iIII", data[:16])
                yield self.folders[number], data[16:16 + length].rstrip(b"\0").decode()
                data = data[16 + length:]

    def wait(self, note: str, seconds: float = 30, file="handover.json") -> pathlib.Path:
        """Returns the folder of the pod for which this was noted, at the instant when it is."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            select.select([self.fd], [], [], 0.5)
            for folder, name in self.events():
                if folder.name == "pods":
                    self.watch(folder / name)
                elif name == file and note_of(folder, file) == note:
                    return folder
        raise TimeoutError(f"nobody noted {note} within {seconds} s")

    def close(self):
        os.close(self.fd)


def note_of(pod: pathlib.Path, file="handover.json") -> str | None:
    with contextlib.suppress(OSError):
        return json.loads((pod / file).read_text())[WORDS[file]]
    return None


class Monitor:
    """The spare QMP socket of the QEMU of a pod, given by the pod's folder on its node."""

    def __init__(self, pod: pathlib.Path):
        self.events, self.left = [], b""
        self.socket = socket.socket(socket.AF_UNIX)
        folder = os.open(pod / "run", os.O_PATH)
        self.socket.connect(f"/proc/self/fd/{folder}/qmp-tools.sock")  # paths of sockets must be short
        os.close(folder)
        self.command("qmp_capabilities")

    def take(self, seconds: float) -> list:
        """Messages that arrived; events are kept as well."""
        if not select.select([self.socket], [], [], seconds)[0]:
            return []
        with contextlib.suppress(ConnectionResetError):
            self.left += self.socket.recv(1 << 16)
        *lines, self.left = self.left.split(b"\n")
        messages = [json.loads(line) for line in lines if line.strip()]
        self.events += [m for m in messages if "event" in m]
        return messages

    def command(self, name: str, seconds: float = 10) -> dict:
        self.socket.sendall(json.dumps({"execute": name}).encode() + b"\n")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for message in self.take(0.1):
                if "return" in message:
                    return message["return"]
        raise TimeoutError(f"{name}: no answer")

    def wait_copy(self, *states: str, transferred: int = 0, seconds: float = 30):
        """Until the migration is in one of these states and has moved so many bytes of memory. (A QEMU whose guest came here
        by a migration reports that one until the next begins.)"""
        end = time.monotonic() + seconds
        while True:
            found = self.command("query-migrate")
            if found.get("status") in states and found.get("ram", {}).get("transferred", 0) >= transferred:
                return
            if time.monotonic() > end:
                raise TimeoutError(f"the migration is {found.get('status')}, and should be {states}")
            time.sleep(0.002)

    def wait_event(self, name: str, seconds: float = 30):
        end = time.monotonic() + seconds
        while not any(e["event"] == name for e in self.events):
            if time.monotonic() > end:
                raise TimeoutError(f"no {name} within {seconds} s")
            self.take(0.1)

    def runs(self) -> list:
        """(from, to) of each time that the guest ran, as far as it was seen; to is None while it runs."""
        found = []
        while self.take(0):
            pass
        for event in self.events:
            at = event["timestamp"]["seconds"] + event["timestamp"]["microseconds"] / 1e6
            if event["event"] == "RESUME":
                found.append((at, None))
            elif event["event"] == "STOP":
                found[-1:] = [(found[-1][0] if found else 0, at)]
        return found

    def close(self):
        self.socket.close()


def pod_folder(machine: Vm, node: str) -> pathlib.Path | None:
    """Of the VM's launcher pod on a node, once it has one there."""
    uids = {pod["metadata"]["uid"] for pod in machine.cluster.get("pods", ns=machine.ns)["items"]
            if pod["metadata"].get("annotations", {}).get("kubevirt.io/domain") == machine.name}
    folders = [f for f in (machine.cluster.dir / "nodes" / node / "pods").iterdir() if f.name in uids]
    return next((f for f in folders if qemu_lives(f)), None)


def pid_of(pod: pathlib.Path, what: str) -> int:
    """what: "qemu" or "launcher"."""
    return json.loads((pod / "launcher.json").read_text())[what]["pid"]


def qemu_lives(pod: pathlib.Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return is_alive(pid_of(pod, "qemu"))
    return False


def is_alive(pid: int) -> bool:
    """A process that has ended and is not waited for yet counts as gone."""
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    return False


@contextlib.contextmanager
def held(pid: int):
    """Stands still meanwhile; it may be killed there."""
    os.kill(pid, signal.SIGSTOP)
    yield
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def kill(pid: int, seconds: float = 10):
    """kill -9, and waits until it is gone, with its memory and its sockets."""
    os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + seconds
    while is_alive(pid):
        if time.monotonic() > end:
            raise TimeoutError(f"process {pid} does not end")
        time.sleep(0.001)
