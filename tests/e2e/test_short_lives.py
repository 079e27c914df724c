"""Certificates that end while everything runs: each is renewed in time, and what is open goes on."""
import contextlib
import json
import re
import time

import pytest
from cluster import Vm, vm_manifest, wait_for
from subresources import Subresources
from test_authorities import KubectlWatch

LIFE_S = 60
RENEWALS = 2


@pytest.fixture
def short_lived(make_cluster):
    cluster = make_cluster(certificate_lifetime=f"{LIFE_S}s")
    cluster.up()
    cluster.import_images()
    return cluster


def renewals(cluster) -> list:
    """So far: of the server's certificate, and of the client and the serving certificate of each node."""
    count = lambda name, what: len(re.findall(what, cluster.log(name)))
    return [count("server", "the server's certificate was renewed")] + \
        [count(node, what) for node in cluster.nodes
         for what in ("certificate of the node: issued", "certificate of the endpoint: renewed")]


def test_all_goes_on_when_certificates_end(short_lived, tmp_path):
    """A copy that takes longer than a certificate lives, a watch, a console, and kubectl with the file that the server keeps."""
    cluster, ns = short_lived, "default"
    cluster.create(vm_manifest("vm1", kernel_boot=True), ns)
    machine = Vm(cluster, "vm1", ns)
    machine.wait_guest()
    guest = machine.guest()
    guest.ask("memory-init 48")
    guest.ask("memory-dirty 60")  # faster than the copy
    patch = {"spec": {"configuration": {"migrations": {"bandwidthPerMigration": "8Mi", "completionTimeoutPerGiB": 6000, "progressTimeout": 600}}}}
    cluster.kubectl("patch", "kubevirt", "kubevirt", "-n", "kubevirt", "--type=merge", "-p", json.dumps(patch))
    pids = [cluster.pid(name) for name in ("server", *cluster.nodes)]
    watch = KubectlWatch(cluster, ns, tmp_path / "watch.log")
    with contextlib.closing(Subresources(cluster.kubeconfig, ns).open("virtualmachineinstances/vm1/console")) as console:
        migration = machine.start_migration()
        migration.wait_phase("Running")
        before, begin = renewals(cluster), time.monotonic()

        def console_lives():
            console.send(b"\n")
            console.read_until(b"login:")

        def all_renewed():
            console_lives()  # who never reads does not answer the server's pings, and is taken for gone
            assert cluster.get("nodes")  # with today's kubeconfig
            return all(now - then >= RENEWALS for now, then in zip(renewals(cluster), before))

        wait_for("each certificate is renewed twice", all_renewed, 4 * LIFE_S, 2)
        wait_for("those of the beginning have ended", lambda: all_renewed() and time.monotonic() - begin > LIFE_S, 2 * LIFE_S, 2)
        assert migration.phase == "Running"
        cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "seen"}}, ns)
        wait_for("the watch goes on", lambda: watch.saw("configmap/seen"), 10)
        console_lives()
        guest.ask("memory-dirty 0")
        assert migration.wait_final(60) == "Succeeded", migration.describe()
    watch.process.kill()
    watch.process.wait()
    assert guest.values("memory-verify")["bad"] == 0
    machine.migrate()  # the way back, with today's certificates
    assert [cluster.pid(name) for name in ("server", *cluster.nodes)] == pids
