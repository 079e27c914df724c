"""A VM that moves many times while all of it is in use: memory, a disk of each kind, connections in both directions."""
import statistics

from cluster import ECHO, EMPTY_DISK, Cluster, Vm, vm_manifest

DISKS = ("system", "scratch", "shared")  # copied as an overlay, copied whole, reached by both nodes
PORT = 7011
FIGURES = ("total_ms", "downtime_ms", "blackout_ms")


def create(cluster: Cluster, name: str, ns: str = "default") -> Vm:
    """The VM with all of DISKS and their claim."""
    cluster.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "shared"}, "spec": {
        "accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "32Mi"}}}}, ns)
    shared = {"persistentVolumeClaim": {"claimName": "shared"}}
    cluster.create(vm_manifest(name, disks=[("scratch", EMPTY_DISK), ("shared", shared)]), ns)
    return Vm(cluster, name, ns)


class Travel:
    """start_probe: like Cluster.start_probe."""

    def __init__(self, machine: Vm, start_probe):
        self.machine, self.nodes, self.start_probe = machine, machine.cluster.nodes, start_probe
        self.guest, self.address = machine.wait_guest(), machine.address
        self.guest.ask("memory-init 40")
        self.guest.ask("memory-dirty 10 8")
        for disk in DISKS:
            self.guest.ask(f"journal-start {disk} 20" + (" 48" if disk == "system" else ""))
        self.boot_id = self.guest.values("info")["boot_id"]
        self.inbound = [start_probe(n, "echo", address=self.address, port=ECHO, interval=20, sessions=2) for n in self.nodes]
        self.outbound = [start_probe(n, "serve", port=PORT) for n in self.nodes]
        for node in self.nodes:
            self.guest.ask(f"echo-open {machine.cluster.node_address(node)} {PORT} 20")

    def move(self) -> dict:
        """One migration; everything but the connections is verified behind it. Returns FIGURES."""
        source = self.machine.node
        watching = self.start_probe("node1", "udp", address=self.address, interval=2)
        state = self.machine.migrate()
        blackout = watching.stop()["gap_ms"]
        assert (state["sourceNode"], state["targetNode"]) == (source, self.machine.node) and source != self.machine.node
        assert self.machine.address == self.address
        assert self.guest.values("info")["boot_id"] == self.boot_id
        assert self.guest.values("memory-verify")["bad"] == 0
        for disk in DISKS:
            assert self.guest.values(f"journal-verify {disk}")["missing"] == 0
        progress = state["progress"]
        return {"total_ms": progress["totalTimeMs"], "downtime_ms": progress["downtimeMs"], "blackout_ms": blackout}

    def end(self):
        """Every session is still the one of the beginning, and not one byte was lost in either direction."""
        found = self.guest.ask("echo-close", timeout=60)
        assert found.count("state=closed") == len(self.nodes) and found.count("bad=0") == len(self.nodes) + 1, found
        for one in self.inbound:
            result = one.stop()
            assert result["error"] == "" and result["bad"] == 0 and result["sent"] == result["echoed"] > 100, result
        for one in self.outbound:
            result = one.stop()
            assert result["sessions"] == 1 and result["bad"] == 0 and result["error"] == "", result


def summary(moves: list) -> str:
    """Median and range of each figure, in ms."""
    def one(key):
        values = [move[key] for move in moves]
        return f"{key.removesuffix('_ms')} {statistics.median(values):.0f} ({min(values):.0f}-{max(values):.0f}) ms"

    return f"{len(moves)} moves: " + ", ".join(one(key) for key in FIGURES)
