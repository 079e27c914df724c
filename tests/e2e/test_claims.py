"""A disk that is not shared is one VM's at a time, whoever asks for it in the same moment."""
import json
import pathlib

from cluster import GODWIT, run, wait_for
from test_migration import shared_disk, volume_status, writes_to


def own_claim(cluster, ns, name):
    cluster.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}}}, ns)
    return name, {"persistentVolumeClaim": {"claimName": name}}


def want(cluster, machine, name):
    """In the template, which nobody compares with those of other VMs."""
    volume = {"name": name, "persistentVolumeClaim": {"claimName": name, "hotpluggable": True}}
    disk = {"name": name, "serial": name, "disk": {"bus": "scsi"}}
    template = cluster.get("vm", machine.name, machine.ns)["spec"]["template"]["spec"]
    patch = [{"op": "add", "path": "/spec/template/spec/volumes", "value": template.get("volumes", []) + [volume]},
             {"op": "add", "path": "/spec/template/spec/domain/devices/disks",
              "value": template["domain"]["devices"].get("disks", []) + [disk]}]
    cluster.kubectl("patch", "vm", machine.name, "-n", machine.ns, "--type=json", "-p", json.dumps(patch))


def test_two_want_one_disk(cluster, ns, vm):
    own_claim(cluster, ns, "single")
    here = {"nodeSelector": {"kubernetes.io/hostname": "node1"}}
    both = [vm("vm1", **here), vm("vm2", **here)]
    for machine in both:
        want(cluster, machine, "single")
    wait_for("one has it", lambda: any(volume_status(m, "single").get("phase") == "Ready" for m in both), 30)
    first, second = sorted(both, key=lambda m: volume_status(m, "single").get("phase") != "Ready")
    reason = f"claim single is in use by virtual machine instance {first.name}"
    wait_for("the other says who has it", lambda: reason in volume_status(second, "single").get("message", ""), 30)
    wait_for("its guest writes to it", lambda: writes_to(first.guest(), "single"), 20)
    assert first.vmi["status"]["phase"] == second.vmi["status"]["phase"] == "Running"

    # A third that begins with it waits before there is a QEMU.
    third = vm("vm3", wait=False, disks=[("single", {"persistentVolumeClaim": {"claimName": "single"}})], **here)
    wait_for("it waits", lambda: any(c.get("reason") == "PvcInUse" and first.name in c["message"]
                                     for c in third.vmi["status"].get("conditions", [])), 20)

    cluster.kubectl("delete", "vm", third.name, "-n", ns)
    first.guest().ask("journal-stop single")
    run(GODWIT, "virtctl", "removevolume", first.name, "--volume-name=single", "-n", ns, "--kubeconfig", cluster.kubeconfig)
    wait_for("the other has it now", lambda: volume_status(second, "single").get("phase") == "Ready", 60)
    assert not volume_status(first, "single")


def folder_of(cluster, ns, name) -> pathlib.Path:
    volume = cluster.get("pv", cluster.get("pvc", name, ns)["spec"]["volumeName"])["spec"]
    return pathlib.Path(volume["local" if "local" in volume else "hostPath"]["path"])


def test_disks_go_with_their_claims(cluster, ns, vm):
    """At once, one after the other: agents look by themselves only every 30 s."""
    claims = [own_claim(cluster, ns, "own")] + [shared_disk(cluster, ns, f"shared{i}") for i in range(4)]
    machine = vm("vm1", disks=claims)
    folders = {name: folder_of(cluster, ns, name) for name, _ in claims}
    missing = [str(folder) for folder in folders.values() if not (folder / "disk.img").exists()]
    assert not missing
    cluster.delete("vm", machine.name, ns)
    for name, folder in folders.items():
        cluster.delete("pvc", name, ns)
        wait_for(f"the disk of {name} is gone", lambda folder=folder: not folder.exists(), 15)
