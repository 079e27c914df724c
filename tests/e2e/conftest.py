"""One cluster for all tests of a session, one namespace per test, and a leak check behind each."""
import itertools
import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import leaks  # noqa: E402
import secrets_left  # noqa: E402
from cluster import Cluster, Vm, vm_manifest  # noqa: E402

numbers = itertools.count(1)
SLOW = "12Mi"  # bandwidthPerMigration with which a copy takes some seconds, for those who interfere


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("cluster") / "c")
    try:
        cluster.up()
        cluster.import_images()
        yield cluster
        assert secrets_left.found(cluster.dir) == []
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
    with leaks.clean_namespace(cluster, f"test-{next(numbers)}") as name:
        yield name


@pytest.fixture(scope="module")
def module_ns(cluster):
    """For tests that go on with each other's virtual machines."""
    with leaks.clean_namespace(cluster, f"test-{next(numbers)}") as name:
        yield name


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


@pytest.fixture
def slow_copy(cluster):
    def set_rate(rate):
        patch = {"spec": {"configuration": {"migrations": {"bandwidthPerMigration": rate}}}}
        cluster.kubectl("patch", "kubevirt", "kubevirt", "-n", "kubevirt", "--type=merge", "-p", json.dumps(patch))

    set_rate(SLOW)
    yield set_rate
    set_rate(None)
