"""Manifests that must be refused: with a 4xx, a message that names the field or the cause, and without any effect."""
import copy
import json

import pytest
from cluster import vm_manifest, wait_for

TEMPLATE = ("spec", "template", "spec")
DOMAIN = TEMPLATE + ("domain",)
REMOVE = object()

# What is set (or removed) where in a good VirtualMachine, and what the refusal must say.
VMS = {
    "unknown field": (DOMAIN + ("nonsense",), 1, 'unknown field "spec.template.spec.domain.nonsense"'),
    "text for a number": (DOMAIN + ("cpu",), {"cores": "two"}, "spec.template.spec.domain.cpu.cores"),
    "number for an object": (DOMAIN + ("devices",), 7, "spec.template.spec.domain.devices"),
    "no template": (("spec", "template"), REMOVE, "spec.template"),
    "no domain": (DOMAIN, REMOVE, "domain"),
    "odd quantity": (DOMAIN + ("memory",), {"guest": "12 sheep"}, "memory.guest"),
    "more memory than numbers have": (DOMAIN + ("memory",), {"guest": "99999999999Ei"}, "memory.guest"),
    "more memory than x86 addresses": (DOMAIN + ("memory",), {"guest": "64Ti"}, "must be at most 16Ti"),
    "no memory": (DOMAIN + ("memory",), {"guest": "0"}, "memory.guest"),
    "request above the limit": (DOMAIN + ("resources",), {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}},
                                "resources.requests.memory"),
    "negative memory": (DOMAIN + ("memory",), {"guest": "-128Mi"}, "memory.guest"),
    "running and runStrategy": (("spec", "running"), True, "mutually exclusive"),
    "unknown runStrategy": (("spec", "runStrategy"), "Sometimes", "spec.runStrategy"),
    "disk without volume": (DOMAIN + ("devices", "disks"), [{"name": "ghost", "disk": {"bus": "virtio"}}], "ghost"),
    "two disks of a name": (DOMAIN + ("devices", "disks"), [{"name": "system", "disk": {"bus": "virtio"}}] * 2, "disks[1]"),
    "unknown bus": (DOMAIN + ("devices", "disks"), [{"name": "system", "disk": {"bus": "floppy"}}], "bus"),
    "two volumes of a name": (TEMPLATE + ("volumes",), [{"name": "system", "containerDisk": {"image": "testguest"}}] * 2, "volumes[1]"),
    "volume with two sources": (TEMPLATE + ("volumes",), [{"name": "system", "containerDisk": {"image": "testguest"},
                                                           "emptyDisk": {"capacity": "1Mi"}}], "volumes[0]"),
    "interface without network": (TEMPLATE + ("networks",), [], "default"),
    "host devices": (DOMAIN + ("devices", "hostDevices"), [{"name": "d", "deviceName": "x/y"}], "hostDevices"),
    "gpu": (DOMAIN + ("devices", "gpus"), [{"name": "d", "deviceName": "x/y"}], "gpus"),
    "upper case name": (("metadata", "name"), "VM", "metadata.name"),
    "odd label": (("metadata", "labels"), {"a b": "c"}, "metadata.labels"),
    "other namespace": (("metadata", "namespace"), "default", "namespace"),
}

# Migrations, as spec; the VM "idle" exists and does not run.
MIGRATIONS = {
    "no vmiName": ({}, "vmiName"),
    "no such VMI": ({"vmiName": "nobody"}, "the VMI \\\"NS/nobody\\\" does not exist"),
    "VM that does not run": ({"vmiName": "idle"}, "the VMI \\\"NS/idle\\\" does not exist"),
    "unknown field": ({"vmiName": "idle", "speed": "fast"}, 'unknown field "spec.speed"'),
    "text for a map": ({"vmiName": "idle", "addedNodeSelector": "node2"}, "spec.addedNodeSelector"),
    "priority by a user": ({"vmiName": "idle", "priority": "system-critical"}, "priority"),
}


def set_at(manifest, path, value):
    for key in path[:-1]:
        manifest = manifest.setdefault(key, {})
    if value is REMOVE:
        del manifest[path[-1]]
    else:
        manifest[path[-1]] = value


def world(cluster, ns):
    return {kind: sorted((o["metadata"]["name"], o["metadata"]["resourceVersion"]) for o in cluster.get(kind, ns=ns)["items"])
            for kind in ("vm", "vmi", "vmim", "pods", "pvc")}


def assert_refused(cluster, ns, manifest, message):
    before = world(cluster, ns)
    done = cluster.kubectl("create", "-n", ns, "-f", "-", text=json.dumps(manifest), check=False)
    said = done.stderr.replace('\\"', '"')
    assert done.returncode != 0, done.stdout
    assert message.replace('\\"', '"').replace("NS", ns) in said, said
    assert "InternalError" not in said and "unexpected" not in said
    assert world(cluster, ns) == before


def test_virtual_machines(cluster, ns):
    wrong = []
    for name, (path, value, message) in VMS.items():
        manifest = copy.deepcopy(vm_manifest("vm1"))
        set_at(manifest, path, value)
        try:
            assert_refused(cluster, ns, manifest, message)
        except AssertionError as err:
            wrong.append(f"{name}: {str(err).splitlines()[0]}")
    assert not wrong, "\n".join(wrong)


def test_migrations(cluster, ns):
    cluster.create(vm_manifest("idle", run_strategy="Halted"), ns)
    wrong = []
    for name, (spec, message) in MIGRATIONS.items():
        migration = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration", "metadata": {"name": "m"}, "spec": spec}
        try:
            assert_refused(cluster, ns, migration, message)
        except AssertionError as err:
            wrong.append(f"{name}: {str(err).splitlines()[0]}")
    assert not wrong, "\n".join(wrong)


def test_more_memory_than_any_node_has(cluster, ns):
    """A good manifest that fits nowhere: it waits, says why for each node, and nothing is started."""
    cluster.create(vm_manifest("huge", memory="15Ti"), ns)
    message = wait_for("the VMI says why it waits", lambda: next((c.get("message") for c in (
        cluster.get("vmi", "huge", ns, check=False) or {"status": {}})["status"].get("conditions", [])
        if c["type"] == "PodScheduled" and c["status"] == "False"), None), 20)
    assert "0/2 nodes are available" in message and "Insufficient memory" in message
    assert cluster.get("vmi", "huge", ns)["status"]["phase"] in ("Pending", "Scheduling")
    assert not cluster.get("pods", ns=ns)["items"][0]["spec"].get("nodeName")


@pytest.mark.parametrize("text, message", [
    ("apiVersion: kubevirt.io/v1\nkind: Nonsense\nmetadata: {name: x}\n", "no matches for kind"),
    ("apiVersion: kubevirt.io/v7\nkind: VirtualMachine\nmetadata: {name: x}\n", "no matches for kind"),
    ("{not yaml", "error parsing STDIN"),
])
def test_what_is_no_object_of_ours(cluster, ns, text, message):
    done = cluster.kubectl("create", "-n", ns, "-f", "-", text=text, check=False)
    assert done.returncode != 0 and message in done.stderr
