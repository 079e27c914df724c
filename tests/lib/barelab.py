"""Two bare QEMUs that hand one guest to and fro, driven over QMP: the yardstick for Godwit's migrations.

Each side is a network namespace with a bridge that is one segment with the other's, so that the guest keeps its address;
a third namespace joins them, gives the guest its address by DHCP, and is where probes run. The target's memory is
preallocated, it waits with -S, and is continued on its own `completed` event."""
import os
import pathlib
import subprocess
import time

import qemu
from cluster import Probe, run
from guest import ECHO_PORT, Guest

GUEST_ADDRESS, PROBE_ADDRESS, MAC = "10.99.0.10", "10.99.0.1", "52:54:00:99:00:10"
SIDES = ("a", "b")


class BareLab:
    def __init__(self, work: pathlib.Path, memory_mib: int):
        self.work, self.memory_mib, self.moves, self.dhcp = work, memory_mib, 0, None
        self.prefix = f"gwbare{os.getpid()}"
        self.here, self.current = "a", None

    def ns(self, name: str) -> list:
        return ["ip", "netns", "exec", f"{self.prefix}-{name}"]

    def _ip(self, name: str, *words):
        run("ip", "-n", f"{self.prefix}-{name}", *words)

    def _bridge(self, name: str):
        run("ip", "netns", "add", f"{self.prefix}-{name}")
        self._ip(name, "link", "set", "lo", "up")
        self._ip(name, "link", "add", "br0", "type", "bridge")
        self._ip(name, "link", "set", "br0", "up")

    def up(self):
        self._bridge("net")
        self._ip("net", "addr", "add", f"{PROBE_ADDRESS}/24", "dev", "br0")
        for number, side in enumerate(SIDES, 1):
            self._bridge(side)
            run("ip", "link", "add", "up0", "netns", f"{self.prefix}-{side}", "type", "veth",
                "peer", "name", side, "netns", f"{self.prefix}-net")
            for name, link in ((side, "up0"), ("net", side)):
                self._ip(name, "link", "set", "dev", link, "master", "br0", "up")
            self._ip(side, "addr", "add", f"10.99.0.{1 + number}/24", "dev", "br0")
            self._ip(side, "tuntap", "add", "tap0", "mode", "tap")
            self._ip(side, "link", "set", "tap0", "master", "br0", "up")
        config = self.work / "udhcpd.conf"
        config.write_text(f"interface br0\nstart {GUEST_ADDRESS}\nend {GUEST_ADDRESS}\nlease_file {self.work}/leases\n"
                          f"pidfile {self.work}/udhcpd.pid\noption subnet 255.255.255.0\noption lease 864000\n")
        (self.work / "leases").touch()
        self.dhcp = subprocess.Popen([*self.ns("net"), str(qemu.GUEST / "unpacked/bin/busybox"), "udhcpd", "-f", str(config)],
                                     stderr=subprocess.DEVNULL)
        self._make_certificates()
        self.current = self._start(self.here)
        self.guest = Guest(GUEST_ADDRESS, prefix=self.ns("net"))
        self.guest.wait(60)

    def down(self):
        if self.current:
            self.current.close()
        if self.dhcp:
            self.dhcp.kill()
            self.dhcp.wait()
        for name in ("net", *SIDES):
            subprocess.run(["ip", "netns", "del", f"{self.prefix}-{name}"], capture_output=True)

    def _make_certificates(self):
        """One authority, one certificate for both ends."""
        folder = self.work / "tls"
        folder.mkdir()
        sh = lambda *words: run("openssl", *words)  # noqa: E731
        sh("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=bare", "-days", "2",
           "-keyout", folder / "ca.key", "-out", folder / "ca-cert.pem")
        for end in ("server", "client"):
            sh("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={end}",
               "-keyout", folder / f"{end}-key.pem", "-out", folder / "request")
            (folder / "ext").write_text("subjectAltName=DNS:bare\n")
            sh("x509", "-req", "-in", folder / "request", "-CA", folder / "ca-cert.pem", "-CAkey", folder / "ca.key",
               "-CAcreateserial", "-days", "2", "-extfile", folder / "ext", "-out", folder / f"{end}-cert.pem")

    def _start(self, side: str, *extra) -> qemu.Qemu:
        self.moves += 1
        return qemu.Qemu(self.work, f"bare{self.moves}", [
            "-kernel", str(qemu.GUEST / "vmlinuz"), "-initrd", str(qemu.GUEST / "initrd"), "-append", "console=ttyS0 quiet",
            "-netdev", "tap,id=n0,ifname=tap0,script=no,downscript=no", "-device", f"virtio-net-pci,netdev=n0,mac={MAC}", *extra],
            memory_mib=self.memory_mib, prefix=self.ns(side), preallocate=True)

    def probe(self) -> Probe:
        return Probe(self.ns("net"), "udp", {"address": GUEST_ADDRESS, "port": ECHO_PORT, "interval": 5})

    def migrate(self, same: bool) -> dict:
        """One move to the other side: milliseconds from before the target QEMU was started until the source's end. same: with
        the settings that Godwit uses, as far as one can set them at the start; else with QEMU's own, and without TLS."""
        there = next(side for side in SIDES if side != self.here)
        begin = time.monotonic()
        target = self._start(there, "-S", "-incoming", "defer")
        uri = f"tcp:10.99.0.{2 + SIDES.index(there)}:{7100 + self.moves % 100}"
        parameters = {"tls-creds": "", "tls-hostname": "", "downtime-limit": 300}  # parameters outlive a migration
        if same:
            for end, machine in (("server", target), ("client", self.current)):
                machine.run("object-add", **{"qom-type": "tls-creds-x509", "id": f"tls{self.moves}", "dir": str(self.work / "tls"),
                                             "endpoint": end, "verify-peer": True})
            parameters = {"tls-creds": f"tls{self.moves}", "tls-hostname": "bare", "downtime-limit": 30, "multifd-channels": 2}
        outcome = qemu.migrate(self.current, target, uri, multifd=same, **parameters)
        self.current.run("quit")
        self.current.process.wait()
        total = (time.monotonic() - begin) * 1000
        self.current.close()
        self.current, self.here = target, there
        return {"total_ms": total, "downtime_ms": outcome["downtime"]}
