"""The API bench: a real `godwit server` with its controllers, asked over HTTPS with client certificates by load-api, on the
same machine. VMs run as far as they can without agents: VMI, launcher pod, binding to one of 100 nodes (or 3, for a small
cluster at rest) whose heartbeats and watches load-api makes.

CPU is the whole server's, controllers included, by /proc/PID/stat; memory is VmRSS."""
import contextlib
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

from server import Server

LOAD = pathlib.Path(os.environ.get("GODWIT_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build/gcc")) / "tests/bench/load-api"
NODES, FEW_NODES, FEW_VMS, WATCHERS = 100, 3, 100, 1000
AT_ONCE = (16, 32, 64)  # writes: their median is that number over the throughput, so the tail is to be read beside both
STEPS = tuple(int(step) for step in os.environ.get("BENCH_VMS", "100 1000 10000").split())
REST_S = 5
SETTLE_MAX_S = 120
FOR_EVER = 100000
JSON_TYPE, MERGE = "application/json", "application/merge-patch+json"
VMIS = "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances"
ALL_VMIS, VMS = "/apis/kubevirt.io/v1/virtualmachineinstances", VMIS.replace("instances", "s")
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
NODE = {"metadata": {"name": "node-%u", "labels": {"kubevirt.io/schedulable": "true"}}}
NODE_STATUS = {"status": {"allocatable": {"cpu": "64", "memory": "512Gi", "pods": "500", "devices.kubevirt.io/kvm": "1000"},
                          "conditions": [{"type": "Ready", "status": "True"}]}}
VM = {"metadata": {"name": "vm-%u"},
      "spec": {"runStrategy": "Always", "template": {"spec": {
          "domain": {"memory": {"guest": "128Mi"},
                     "devices": {"disks": [{"name": "root", "disk": {"bus": "virtio"}}],
                                 "interfaces": [{"name": "default", "masquerade": {}}]}},
          "networks": [{"name": "default", "pod": {}}],
          "volumes": [{"name": "root", "containerDisk": {"image": "test:1"}}]}}}}


class Figures:
    """CPU seconds and memory of the server."""

    def __init__(self, pid: int):
        self.proc = pathlib.Path(f"/proc/{pid}")
        self.begin = self.cpu()
        self.at = time.monotonic()

    def cpu(self) -> float:
        fields = (self.proc / "stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def used(self) -> float:
        return self.cpu() - self.begin

    def percent(self) -> float:
        return 100 * self.used() / (time.monotonic() - self.at)

    def resident_mb(self) -> float:
        line = next(s for s in (self.proc / "status").read_text().splitlines() if s.startswith("VmRSS"))
        return int(line.split()[1]) * 1024 / 1e6


class ApiBench:
    def __init__(self, server: Server):
        self.server = server
        cert, self.cert, key, self.key = server.credentials()

    def command(self, url: str, method="GET", body=None, type=JSON_TYPE, watch=None, **options):
        base = f"https://127.0.0.1:{self.server.port}"
        options |= {"url": base + url, "method": method, "ca": self.server.dir / "ca.crt", "cert": self.cert, "key": self.key}
        if body:
            options |= {"body": json.dumps(body, separators=(",", ":")), "type": type}
        if watch:
            options |= {"watch": base + watch}
        return [LOAD, *(f"--{name.replace('_', '-')}={value}" for name, value in options.items())]

    def load(self, url: str, **options) -> dict:
        return json.loads(subprocess.run(self.command(url, **options), stdout=subprocess.PIPE, check=True).stdout)

    def row(self, name: str, url: str, **options):
        got = self.load(url, pid=self.server.child.pid, **options)
        n, seconds = got["requests"], got["seconds"]
        failed = f", {got['failed']} failed" if got["failed"] else ""
        print(f"| {name}{failed} | {options.get('connections', 1)} | {n / seconds:,.0f} | {got['p50']:.2f} | {got['p99']:.2f} "
              f"| {got['cpu'] / n * 1000:.2f} | {got['bytes'] / seconds / 1e6:,.1f} | {Figures(self.server.child.pid).resident_mb():.0f} |", flush=True)
        return got

    def count(self, resource: str) -> int:
        text = self.server.curl(f"{resource}?limit=1", *self.server.credentials())[1]
        got = json.loads(text)
        return len(got["items"]) + got["metadata"].get("remainingItemCount", 0)

    def settle(self, vms: int) -> float:
        """Until the controllers have made a pod for each VM, and are at rest. Seconds."""
        begin = time.monotonic()
        while time.monotonic() < begin + SETTLE_MAX_S:
            figures = Figures(self.server.child.pid)
            time.sleep(1)
            if figures.percent() < 15 and self.count("/api/v1/namespaces/default/pods") >= vms:
                break
        return time.monotonic() - begin

    def at_rest(self, what: str) -> str:
        figures = Figures(self.server.child.pid)
        time.sleep(REST_S)
        return f"| {what} | {figures.resident_mb():.0f} | {figures.percent():.1f} |"


def header(title: str, *columns):
    print(f"\n{title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)


def agents(bench: ApiBench, nodes: int) -> list:
    """What agents at rest do: each renews its Lease every ten seconds, and watches its pods and its VMIs."""
    pods, vmis = "/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3Dnode-%u", f"{ALL_VMIS}?watch=1&labelSelector=kubevirt.io%2FnodeName%3Dnode-%u"
    renewal = {"method": "PATCH", "type": MERGE, "body": {"spec": {"renewTime": "%d"}}, "rate": max(1, nodes // 10)}
    commands = [bench.command(f"{LEASES}/node-%u", watch=pods, wrap=nodes, watchers=nodes, seconds=FOR_EVER, **renewal),
                bench.command("/livez", watch=vmis, rate=1, watchers=nodes, seconds=FOR_EVER)]
    return [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]


def make_nodes(bench: ApiBench, nodes: int):
    many = {"limit": nodes, "connections": min(8, nodes), "seconds": 60}
    bench.load("/api/v1/nodes", method="POST", body=NODE, **many)
    bench.load("/api/v1/nodes/node-%u/status", method="PATCH", type=MERGE, body=NODE_STATUS, **many)
    bench.load(LEASES, method="POST", body={"metadata": {"name": "node-%u"}, "spec": {"holderIdentity": "node-%u", "renewTime": "%d"}}, **many)


@contextlib.contextmanager
def cluster(nodes: int):
    """A server with nothing stored, and then that many nodes; gives the bench and the figures before."""
    with tempfile.TemporaryDirectory(prefix="godwit-bench-") as folder:
        server, children = Server(pathlib.Path(folder)), []
        server.start()
        try:
            bench = ApiBench(server)
            empty = bench.at_rest("nothing stored")
            make_nodes(bench, nodes)
            children = agents(bench, nodes)
            bench.settle(0)  # their handshakes are over
            yield bench, empty
        finally:
            for child in children:
                child.terminate()
                child.wait()
            server.stop()


def small() -> str:
    with cluster(FEW_NODES) as (bench, _):
        bench.load(VMS, method="POST", body=VM, limit=FEW_VMS, connections=16, seconds=60)
        bench.settle(FEW_VMS)
        return bench.at_rest(f"{FEW_VMS} VMs, {FEW_NODES} agents")


def grow(bench: ApiBench, figures: list):
    """VMs until there are as many as each step says; lists at each."""
    have = 0
    for step in STEPS:
        bench.row(f"create VMs {have:,} to {step:,}, controllers at work", VMS, method="POST", body=VM, limit=step - have, number_from=have,
                  connections=16, seconds=600)
        have = step
        print(f"# {step} VMs: settled after {bench.settle(step):.0f} s more", file=sys.stderr, flush=True)
        figures.append(bench.at_rest(f"{step:,} VMs, {NODES} agents"))
        if step >= 1000:
            bench.row(f"list all of {step:,} VMIs", VMIS, connections=4)
            bench.row(f"list 500 of {step:,} VMIs", f"{VMIS}?limit=500", connections=4)


def single(bench: ApiBench, vms: int):
    name = f"{VMIS}/vm-%u"
    status = {"status": {"guestOSInfo": {"name": "%t"}}}
    bench.row("get a VMI", name, wrap=vms, connections=1)
    bench.row("get a VMI", name, wrap=vms, connections=16)
    for connections in (1, *AT_ONCE):
        bench.row("patch a VMI's status", name, method="PATCH", type=MERGE, body=status, wrap=vms, connections=connections)
    for connections in AT_ONCE:
        bench.row("create a ConfigMap", CONFIGMAPS, method="POST", body={"metadata": {"generateName": "bench-"}, "data": {"a": "b"}},
                  connections=connections)


def fan_out(bench: ApiBench):
    return bench.row(f"patch a ConfigMap that {WATCHERS:,} watch", f"{CONFIGMAPS}/fan", method="PATCH", type=MERGE,
                     body={"metadata": {"annotations": {"stamp": "%t"}}}, rate=10, watchers=WATCHERS,
                     watch=f"{CONFIGMAPS}?watch=1&fieldSelector=metadata.name%3Dfan")


def bench_api(_rounds: int):
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    few = small()
    with cluster(NODES) as (bench, empty):
        memory = [empty, few]
        header("Requests", "request", "at once", "per second", "p50 ms", "p99 ms", "server CPU ms each", "MB/s", "resident MB")
        grow(bench, memory)
        single(bench, STEPS[-1])
        bench.load(CONFIGMAPS, method="POST", body={"metadata": {"name": "fan"}}, limit=1)
        events = fan_out(bench)
        memory.append(bench.at_rest("after all of it"))
    header("Watch", "watchers", "events per second", "p50 ms", "p99 ms")
    print(f"| {WATCHERS:,} | {events['events'] / events['seconds']:,.0f} | {events['event_p50']:.2f} | {events['event_p99']:.2f} |")
    header("The server with nothing to answer but agents", "state", "resident MB", "CPU %")
    print("\n".join(memory))
