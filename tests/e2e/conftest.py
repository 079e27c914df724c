"""One cluster for all tests of a session, one namespace per test, and a leak check behind each."""
import itertools
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import leaks  # noqa: E402
from cluster import Cluster, Vm, run, vm_manifest, wait_for  # noqa: E402

numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("cluster") / "c")
    try:
        cluster.up()
        cluster.import_images()
        yield cluster
    finally:
        cluster_id = cluster.plan["id"]
        cluster.down()
        assert leaks.of_absent_cluster(cluster_id, cluster.dir) == set()


@pytest.fixture
def make_cluster(tmp_path):
    """Further clusters, for tests that treat theirs badly."""
    made = []

    def make(**options) -> Cluster:
        made.append(Cluster(tmp_path / f"c{len(made)}", **options))
        return made[-1]

    yield make
    for cluster in made:
        cluster.down()


@pytest.fixture
def ns(cluster):
    """An empty namespace; what the test leaves in it is removed, and must be gone from the nodes as well."""
    before = leaks.snapshot(cluster)
    name = f"test-{next(numbers)}"
    cluster.kubectl("create", "namespace", name)
    pods = set()
    yield name
    pods |= {pod["metadata"]["uid"] for pod in cluster.get("pods", ns=name)["items"]}
    cluster.up()  # whatever the test killed comes back before it is judged
    for kind in ("vmim", "vm", "vmi", "pvc"):
        cluster.kubectl("delete", kind, "--all", "-n", name, timeout=120)
    wait_for("all pods are gone", lambda: not cluster.get("pods", ns=name)["items"], 60)
    cluster.kubectl("delete", "namespace", name, timeout=60)
    left = leaks.await_same(cluster, before, pods, 90)
    assert not left, "left behind:\n" + "\n".join(sorted(left))


@pytest.fixture
def vm(cluster, ns):
    """Makes virtual machines with the test guest and waits until their agent answers."""

    def make(name="vm1", wait=True, **options) -> Vm:
        cluster.create(vm_manifest(name, **options), ns)
        machine = Vm(cluster, name, ns)
        if wait:
            machine.wait_guest()
        return machine

    return make


@pytest.fixture
def probe(cluster):
    """Probes that end with the test."""
    started = []

    def start(node, kind, **options):
        started.append(cluster.start_probe(node, kind, **options))
        return started[-1]

    yield start
    for one in started:
        one.kill()
