"""The launcher with a real QEMU: sandbox, DHCP, console, how endings are noted, and that no QEMU outlives it."""
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import pytest
from guest import Guest
from qemu import GUEST, TOP

LAUNCHER = TOP / "build/gcc/src/godwit-launcher"
NETNS = "gw-test-launcher"
MAC = "52:54:00:00:00:01"
UID = 107


def wait_for(what, seconds=30):
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def process_state(pid: int) -> str:
    """One letter of ps, "" when there is no such process."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return ""


class Launcher:
    def __init__(self, work: pathlib.Path, extra: list, netns: str | None = None):
        self.dir, self.run = work, work / "run"
        self.run.mkdir()
        os.chown(self.run, UID, UID)
        self.cgroup = f"godwit-test/{work.name}"
        self.spec = {
            "dir": str(work), "runDir": str(self.run), "uid": UID, "gid": UID, "cgroup": self.cgroup,
            "memoryMax": 1 << 30, "cpuMilli": 2000, "cpuRequestMilli": 100, "consoleLogMax": 4096,
            "readOnly": [str(GUEST)], "writable": [str(self.run)], "devices": ["net/tun"] if netns else [],
            "argv": ["/usr/bin/qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-accel", "tcg",
                     "-machine", "q35", "-m", "128", "-sandbox",
                     "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
                     "-chardev", "socket,id=l,fd=4", "-mon", "chardev=l,mode=control",
                     "-chardev", "socket,id=c,fd=3", "-serial", "chardev:c"] + extra}
        if netns:
            self.spec |= {"netns": f"/run/netns/{netns}",
                          "dhcp": {"interface": "tap0", "mac": MAC, "address": "10.0.2.2", "gateway": "10.0.2.1",
                                   "prefixLen": 24, "mtu": 1400, "dns": ["10.96.0.10"], "hostname": "vm1"}}

    def start(self) -> subprocess.CompletedProcess:
        path = self.dir / "launcher-spec.json"
        path.write_text(json.dumps(self.spec))
        return subprocess.run([LAUNCHER, path], capture_output=True, text=True)

    @property
    def note(self) -> dict:
        return json.loads((self.dir / "launcher.json").read_text())

    def ask(self, **request) -> dict:
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(self.dir / "launcher.sock"))
            s.sendall(json.dumps(request).encode() + b"\n")
            return json.loads(s.makefile().readline())

    def ending(self) -> dict:
        path = self.dir / "exit.json"
        wait_for(path.exists)
        return json.loads(path.read_text())

    def close(self):
        try:
            os.kill(self.note["launcher"]["pid"], signal.SIGKILL)
            wait_for(lambda: process_state(self.note["qemu"]["pid"]) in ("", "Z"))
        except (OSError, ProcessLookupError):
            pass
        for controller in ("memory", "cpu", "pids", "unified", ""):
            for name in (self.cgroup, "godwit-test"):
                path = pathlib.Path("/sys/fs/cgroup") / controller / name
                if path.is_dir():
                    try:
                        path.rmdir()
                    except OSError:
                        pass


BOOT = ["-kernel", str(GUEST / "vmlinuz"), "-initrd", str(GUEST / "initrd"), "-append", "console=ttyS0 quiet"]


@pytest.fixture
def launcher(tmp_path):
    tmp_path.chmod(0o755)
    started = []

    def make(extra=(), **options):
        started.append(Launcher(tmp_path, list(extra), **options))
        return started[-1]
    yield make
    for one in started:
        one.close()


@pytest.fixture
def netns():
    subprocess.run(["ip", "netns", "add", NETNS], check=True)
    for command in (f"ip tuntap add tap0 mode tap user {UID}", "ip address add 10.0.2.1/24 dev tap0", "ip link set tap0 up"):
        subprocess.run(["ip", "netns", "exec", NETNS, *command.split()], check=True)
    yield NETNS
    subprocess.run(["ip", "netns", "del", NETNS], check=True)


def test_qemu_can_do_little(launcher):
    one = launcher()
    assert one.start().returncode == 0
    wait_for(lambda: one.ask(do="status")["answered"])
    pid = one.note["qemu"]["pid"]
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    assert f"Uid:\t{UID}\t{UID}\t{UID}\t{UID}" in status
    for line in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
        assert line in status
    root = pathlib.Path(f"/proc/{pid}/root")
    assert sorted(p.name for p in (root / "dev").iterdir()) == ["null", "random", "urandom", "zero"]
    assert not (root / "home").exists() and not (root / "etc/passwd").exists() and not (root / "proc").exists()
    mounts = [line.split() for line in pathlib.Path(f"/proc/{pid}/mounts").read_text().splitlines()]
    writable = [m[1] for m in mounts if m[3].split(",")[0] == "rw"]
    assert writable == ["/tmp", str(one.run)]
    fds = {os.readlink(f) for f in pathlib.Path(f"/proc/{pid}/fd").iterdir()}
    assert not [f for f in fds if f.startswith("/") and not f.startswith(("/dev/null", "/memfd"))]


def test_launcher_gives_up_its_privileges_and_is_small(launcher):
    one = launcher()
    assert one.start().returncode == 0
    pid = one.note["launcher"]["pid"]
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    assert "CapEff:\t0000000000000020" in status and "NoNewPrivs:\t1" in status
    assert os.getsid(pid) == pid or os.getsid(pid) != os.getsid(0)
    smaps = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    private = sum(int(line.split()[1]) for line in smaps.splitlines() if line.startswith("Private_"))
    assert private <= 512, smaps


def test_cgroup_has_the_limits(launcher):
    one = launcher()
    assert one.start().returncode == 0
    groups = pathlib.Path(f"/proc/{one.note['qemu']['pid']}/cgroup").read_text()
    if not one.note["cgroup"]:
        assert one.cgroup in groups
    v1 = pathlib.Path("/sys/fs/cgroup/memory") / one.cgroup / "memory.limit_in_bytes"
    v2 = pathlib.Path("/sys/fs/cgroup") / one.cgroup / "memory.max"
    assert (v1 if v1.exists() else v2).read_text().strip() == str(1 << 30)


def test_a_start_that_fails_says_why(launcher):
    one = launcher()
    one.spec["argv"][0] = "/usr/bin/no-such-qemu"
    done = one.start()
    assert done.returncode == 1 and "no-such-qemu: No such file" in done.stderr
    assert one.ending()["reason"] == "start-failed" and "no-such-qemu" in one.ending()["message"]


def test_a_qemu_that_refuses_says_why(launcher):
    one = launcher(["-device", "no-such-device"])
    one.start()
    ending = one.ending()
    assert ending["reason"] == "start-failed" and ending["code"] == 1 and "no-such-device" in ending["message"]


def test_killed_qemu_is_noted(launcher):
    one = launcher()
    assert one.start().returncode == 0
    wait_for(lambda: one.ask(do="status")["answered"])
    os.kill(one.note["qemu"]["pid"], signal.SIGKILL)
    ending = one.ending()
    assert (ending["reason"], ending["signal"]) == ("crashed", signal.SIGKILL)


def test_kill_by_the_agent_is_noted_with_its_reason(launcher):
    one = launcher()
    assert one.start().returncode == 0
    assert one.ask(do="kill", reason="grace-period-over") == {"done": "kill"}
    assert one.ending()["reason"] == "grace-period-over"


def test_qemu_dies_with_its_launcher(launcher):
    one = launcher()
    assert one.start().returncode == 0
    note = one.note
    os.kill(note["launcher"]["pid"], signal.SIGKILL)
    wait_for(lambda: process_state(note["qemu"]["pid"]) in ("", "Z"), 5)
    assert not (one.dir / "exit.json").exists()


def test_guest_gets_its_address_and_can_be_switched_off(launcher, netns):
    one = launcher(BOOT + ["-netdev", "tap,id=n,ifname=tap0,script=no,downscript=no",
                           "-device", f"virtio-net-pci,netdev=n,mac={MAC},romfile="], netns=netns)
    one.spec["consoleLogMax"] = 1 << 20
    assert one.start().returncode == 0
    log = one.dir / "console.log"
    wait_for(lambda: log.exists() and "has 10.0.2.2/" in log.read_text(errors="replace"), 60)
    Guest("10.0.2.2", prefix=["ip", "netns", "exec", netns]).wait()
    one.ask(do="powerdown")
    ending = one.ending()
    assert (ending["reason"], ending["code"]) == ("guest-shutdown", 0)


def test_console_is_shared_and_its_log_bounded(launcher):
    one = launcher(BOOT)
    assert one.start().returncode == 0
    path = str(one.dir / "console.sock")
    with socket.socket(socket.AF_UNIX) as a, socket.socket(socket.AF_UNIX) as b:
        a.connect(path)
        b.connect(path)
        for s in (a, b):
            s.settimeout(60)
        seen = {a: b"", b: b""}

        def until(text):
            for s in (a, b):
                while text not in seen[s]:
                    data = s.recv(4096)
                    assert data, "the console was closed"
                    seen[s] += data
        until(b"login:")
        a.sendall(b"root\n")
        until(b"Password:")
        b.sendall(b"godwit\n")
        until(b"#")
        a.sendall(b"seq 2000 | tr '\\n' ' '; echo the-$((40+2))-end\n")
        until(b"the-42-end")
    sizes = [(one.dir / name).stat().st_size for name in ("console.log", "console.log.1")]
    assert all(size <= 4096 + 4096 for size in sizes)


def read_all(s) -> bytes:
    text = b""
    while data := s.recv(4096):
        text += data
    return text


def test_a_console_too_many_is_told_so(launcher):
    one = launcher(BOOT)
    assert one.start().returncode == 0
    with contextlib.ExitStack() as stack:
        def connect():
            s = stack.enter_context(socket.socket(socket.AF_UNIX))
            s.settimeout(60)
            s.connect(str(one.dir / "console.sock"))
            return s

        eight = [connect() for _ in range(8)]
        assert b"8 consoles of this VM are open already" in read_all(connect())
        seen = b""
        while b"login:" not in seen:  # the others go on
            seen += eight[0].recv(4096)
