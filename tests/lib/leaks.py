"""What a cluster has on its host at one moment, as a set of lines that can be compared with those of another moment.

Only what belongs to the cluster is looked at (its namespaces, its folder, its processes), so that whatever else happens
on the machine does not disturb. Lines hold no pids, counters or times."""
import collections
import contextlib
import json
import os
import pathlib
import re
import subprocess
import time

import leakcheck
from cluster import Cluster, wait_for


def output(*command) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True).stdout.splitlines()


def processes(cluster: Cluster):
    """Those in the cluster's namespaces, and those that name a file below its folder."""
    spaces = {os.stat(path).st_ino for path in pathlib.Path("/run/netns").glob(f"gw{cluster.plan['id']}-*")}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            inside = os.stat(entry / "ns/net").st_ino in spaces
        except OSError:
            continue
        if inside or any(f"{cluster.dir}/" in word for word in words):
            yield f"process {pathlib.Path(words[0]).name} {' '.join(words[1:3])}"


LOOK = "import json, leakcheck; print(json.dumps([*leakcheck.network(), *leakcheck.sockets()]))"


def without_port(line: str) -> str:
    """A daemon that was started again listens on another of the ports that the kernel chooses."""
    head, _, port = line.rpartition(":")
    chosen = line.startswith(("tcp", "udp")) and port.isdigit() and int(port) >= 32768
    return f"{head}:any" if chosen else line


def kernel(cluster: Cluster, node: str):
    """Devices, addresses, routes, rules, tables and listening sockets of a node's namespace."""
    command = [*cluster.inside(node), "/usr/bin/python3", "-c", LOOK]
    done = subprocess.run(command, capture_output=True, text=True, cwd=pathlib.Path(__file__).parent)
    found = [without_port(line) for line in json.loads(done.stdout or "[]") if not line.startswith("unix ")]
    yield from (f"{node} {line} x{count}" for line, count in collections.Counter(found).items())


def mounts(cluster: Cluster):
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4]
        if point.startswith(f"{cluster.dir}/"):
            yield f"mount {point}"


def files(cluster: Cluster):
    """What agents and VMs made; the logs, the server's data and the image store may grow."""
    for part in ("nodes", "local", "shared", "run"):
        for folder, folders, names in os.walk(cluster.dir / part):
            for name in folders + names:
                yield f"file {os.path.relpath(os.path.join(folder, name), cluster.dir)}"


def cgroups(pods: set[str]):
    yield from (f"cgroup {path}" for path in leakcheck.cgroups() if any(uid in path for uid in pods))


def snapshot(cluster: Cluster, pods: set[str] = frozenset()) -> set[str]:
    """pods: the uids of pods whose cgroups are looked for."""
    found = set(processes(cluster)) | set(mounts(cluster)) | set(files(cluster)) | set(cgroups(pods))
    for node in cluster.nodes:
        found |= set(kernel(cluster, node))
    return {line for line in found if not re.search(r"\.(tmp|new)$", line)}


def await_same(cluster: Cluster, before: set[str], pods: set[str], seconds: float = 20) -> set[str]:
    """What is there now and was not before; empty as soon as there is nothing. Forwarding of packets to a VM's new place
    may last a while, which is why this waits."""
    end = time.monotonic() + seconds
    while True:
        left = snapshot(cluster, pods) - before
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.3)


@contextlib.contextmanager
def clean_namespace(cluster: Cluster, name: str):
    """An empty namespace; what is left in it at the end is removed, and must be gone from the nodes as well."""
    before = snapshot(cluster)
    cluster.kubectl("create", "namespace", name)
    yield name
    pods = {pod["metadata"]["uid"] for pod in cluster.get("pods", ns=name)["items"]}
    cluster.up()  # whatever the test killed comes back before it is judged
    for kind in ("vmim", "vm", "vmi", "pvc"):
        cluster.kubectl("delete", kind, "--all", "-n", name, timeout=120)
    wait_for("all pods are gone", lambda: not cluster.get("pods", ns=name)["items"], 60)
    cluster.kubectl("delete", "namespace", name, timeout=60)
    left = await_same(cluster, before, pods, 90)
    assert not left, "left behind:\n" + "\n".join(sorted(left))


def of_absent_cluster(cluster_id: str, folder: pathlib.Path) -> set[str]:
    """What is left of a cluster that was taken down."""
    left = {f"namespace {p.name}" for p in pathlib.Path("/run/netns").glob(f"gw{cluster_id}-*")}
    left |= {f"link {line.split(': ')[1]}" for line in output("ip", "-o", "link") if f"gw{cluster_id}" in line}
    left |= {f"mount {line.split()[4]}" for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
             if line.split()[4].startswith(f"{folder}/")}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if any(f"{folder}/" in word for word in words):
                left.add(f"process {' '.join(words[:3])}")
    return left
