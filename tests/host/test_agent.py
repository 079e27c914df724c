"""The agent of one node, killed and restarted: VMs go on, and what happened meanwhile is told as it was."""
import json
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import time

import pytest
from cluster import Cluster, wait_for
from guest import Guest
from moments import Notes, kill, note_of


seen_pods = set()


def zombie(pid: int) -> bool:
    """Dead, buried or not."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def restart_agent(lab: Cluster):
    pid = lab.pid("node1")
    lab.kill("node1")
    wait_for("the agent is dead", lambda: zombie(pid))
    lab.up()


class Vmi:
    def __init__(self, lab: Cluster, name: str, image="testguest", grace=20):
        self.lab, self.name = lab, name
        self.uid = lab.create({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "metadata": {"name": name},
            "spec": {"domain": {"memory": {"guest": "128Mi"}, "devices": {
                "disks": [{"name": "root", "disk": {"bus": "virtio"}}, {"name": "scratch", "disk": {}, "serial": "data"}],
                "interfaces": [{"name": "default", "masquerade": {}}]}},
                "networks": [{"name": "default", "pod": {}}], "terminationGracePeriodSeconds": grace,
                "volumes": [{"name": "root", "containerDisk": {"image": image}},
                            {"name": "scratch", "emptyDisk": {"capacity": "16Mi"}}]}})["metadata"]["uid"]

    @property
    def status(self) -> dict:
        return self.lab.get("vmi", self.name, "default")["status"]

    @property
    def pod(self) -> dict:
        done = self.lab.kubectl("get", "pods", "-n", "default", "-l", f"kubevirt.io/created-by={self.uid}", "-o", "json")
        pod = json.loads(done.stdout)["items"][0]
        seen_pods.add(pod["metadata"]["uid"])
        return pod

    @property
    def dir(self) -> pathlib.Path:
        return self.lab.dir / "nodes/node1/pods" / self.pod["metadata"]["uid"]

    @property
    def note(self) -> dict:
        return json.loads((self.dir / "launcher.json").read_text())

    def wait_phase(self, phase: str, seconds=60):
        wait_for(f"{self.name} {phase}", lambda: self.status.get("phase") == phase, seconds)

    def guest(self) -> Guest:
        guest = Guest(self.status["interfaces"][0]["ipAddress"], prefix=self.lab.inside("node1"))
        guest.wait(60)
        return guest

    def qemus(self) -> list[int]:
        """All QEMUs of this VM that are alive."""
        done = subprocess.run(["pgrep", "-f", f"guest=default_{self.name} "], capture_output=True, text=True)
        return [int(pid) for pid in done.stdout.split() if not zombie(int(pid))]

    def remove(self):
        self.lab.delete("vmi", self.name)
        assert not self.qemus()


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    lab = Cluster(tmp_path_factory.mktemp("agent") / "c", nodes=1)
    try:
        lab.up()
        lab.import_images("testguest")
        yield lab
        pods = lab.dir / "nodes/node1/pods"
        wait_for("all pods are forgotten", lambda: not list(pods.iterdir()), 20)
        bound = re.findall(r"godwit/([0-9a-f-]{36})", "\n".join(map(str, pathlib.Path("/sys/fs/cgroup").glob("**/godwit/*"))))
        assert not set(bound) & set(seen_pods), "cgroups are left"
    finally:
        lab.down()


@pytest.fixture
def vmi(lab, request):
    vmi = Vmi(lab, f"vmi-{abs(hash(request.node.name)) % 100000}")
    yield vmi
    vmi.remove()


def test_lives_on_when_its_agent_restarts_and_stops_gracefully(lab, vmi):
    vmi.wait_phase("Running")
    boot = vmi.guest().values("info")["boot_id"]
    qemu = vmi.note["qemu"]["pid"]
    restart_agent(lab)
    assert vmi.guest().values("info")["boot_id"] == boot
    assert vmi.qemus() == [qemu]
    lab.delete("pod", vmi.pod["metadata"]["name"], wait=False)
    vmi.wait_phase("Succeeded")
    assert vmi.status["reason"] == "guest-shutdown"


def claim(lab, name: str):
    lab.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}}})


def ask_volume(lab, vmi, verb, name, bus="scsi"):
    """addvolume or removevolume of an instance that has no VM."""
    body = {"name": name}
    if verb == "addvolume":
        body |= {"disk": {"disk": {"bus": bus}, "serial": name},
                 "volumeSource": {"persistentVolumeClaim": {"claimName": name}}}
    path = f"/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachineinstances/{vmi.name}/{verb}"
    lab.kubectl("replace", "--raw", path, "-f", "-", text=json.dumps(body))


def volume(vmi, name) -> dict:
    return next((v for v in vmi.status.get("volumeStatus", []) if v["name"] == name), {})


def hot_in_qemu(vmi) -> tuple:
    """Devices, block nodes and descriptors of hot disks, as QEMU has them."""
    with socket.socket(socket.AF_UNIX) as s:
        back = os.getcwd()
        os.chdir(vmi.dir / "run")  # the path may be too long for a socket's address
        try:
            s.connect("qmp-tools.sock")
        finally:
            os.chdir(back)
        lines = s.makefile("rw")

        def ask(command, **arguments):
            lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
            lines.flush()
            while True:
                answer = json.loads(lines.readline())
                if "return" in answer:
                    return answer["return"]

        lines.readline()
        ask("qmp_capabilities")
        devices = [d["name"] for d in ask("qom-list", path="/machine/peripheral") if d["name"].startswith("hot-")]
        nodes = [n["node-name"] for n in ask("query-named-block-nodes", flat=True) if n["node-name"].startswith("hot-")]
        return sorted(devices), sorted(nodes), len(ask("query-fdsets"))


NONE_HOT = ([], [], 0)


def test_disks_come_and_go_while_agents_are_killed(lab, vmi):
    """On both buses, with an agent that is killed at some moment on the way."""
    vmi.wait_phase("Running")
    guest = vmi.guest()
    for bus, place in ("scsi", "sdb"), ("virtio", "vdb"):
        name = f"{vmi.name}-{bus}"
        claim(lab, name)
        ask_volume(lab, vmi, "addvolume", name, bus)
        time.sleep(random.random() * 0.15)
        restart_agent(lab)
        wait_for("it is plugged", lambda: volume(vmi, name).get("phase") == "Ready", 20)
        assert volume(vmi, name)["target"] == place
        assert hot_in_qemu(vmi) == ([f"hot-{place}-dev"], [f"hot-{place}", f"hot-{place}-file"], 1)
        wait_for("the guest writes to it", lambda: "ok" in guest.ask_once(f"journal-start {name} 20", 10), 10)
        guest.ask(f"journal-stop {name}")
        ask_volume(lab, vmi, "removevolume", name)
        time.sleep(random.random() * 0.15)
        restart_agent(lab)
        wait_for("it is unplugged", lambda: not volume(vmi, name), 30)
        assert hot_in_qemu(vmi) == NONE_HOT
        lab.delete("pvc", name)


def test_qemu_that_died_while_the_agent_was_away(lab, vmi):
    vmi.wait_phase("Running")
    qemu = vmi.note["qemu"]["pid"]
    lab.kill("node1")
    os.kill(qemu, signal.SIGKILL)
    time.sleep(0.5)
    lab.up()
    vmi.wait_phase("Failed")
    assert vmi.status["reason"] == "crashed"
    ready = next(c for c in vmi.status["conditions"] if c["type"] == "Ready")
    assert "signal 9" in ready["message"]


def test_killed_launcher_is_told(lab, vmi):
    vmi.wait_phase("Running")
    note = vmi.note
    os.kill(note["launcher"]["pid"], signal.SIGKILL)
    vmi.wait_phase("Failed")
    assert vmi.status["reason"] == "launcher-killed"
    assert zombie(note["qemu"]["pid"])


def test_guest_that_does_not_hear_the_button_is_killed_after_its_grace_period(lab, request):
    vmi = Vmi(lab, "vmi-deaf", grace=2)
    try:
        vmi.wait_phase("Running")
        os.kill(vmi.note["qemu"]["pid"], signal.SIGSTOP)
        started = time.monotonic()
        lab.delete("pod", vmi.pod["metadata"]["name"], wait=False)
        vmi.wait_phase("Succeeded", 20)
        assert vmi.status["reason"] == "grace-period-over"
        assert 1 < time.monotonic() - started < 15
    finally:
        vmi.remove()


def test_missing_image_is_explained_and_then_found(lab):
    vmi = Vmi(lab, "vmi-no-image", image="not-there-yet:v1")
    try:
        def waiting():
            statuses = vmi.pod["status"].get("containerStatuses")
            return statuses and statuses[0]["state"].get("waiting")
        state = wait_for("the pod waits", lambda: (waiting() or {}).get("reason") == "ErrImagePull" and waiting(), 20)
        assert "godwit image import not-there-yet:v1" in state["message"]
        condition = wait_for("condition", lambda: next((c for c in vmi.status.get("conditions", [])
                                                        if c["type"] == "Synchronized"), None), 10)
        assert condition["reason"] == "ErrImagePull" and "not-there-yet:v1" in condition["message"]
        from cluster import GODWIT, IMAGES, run
        run(GODWIT, "image", "import", "not-there-yet:v1", IMAGES["testguest"], "--store", lab.dir / "images")
        vmi.wait_phase("Running", 60)
    finally:
        vmi.remove()


def test_agent_killed_at_any_instant_of_a_start(lab):
    """The VM runs in the end, in one QEMU."""
    random.seed(5)
    for i in range(8):
        vmi = Vmi(lab, f"vmi-kill-{i}")
        try:
            time.sleep(random.uniform(0, 0.8))
            restart_agent(lab)
            vmi.wait_phase("Running")
            assert len(vmi.qemus()) == 1
        finally:
            vmi.remove()


def test_qemu_finds_its_devices_and_no_others(lab, vmi):
    vmi.wait_phase("Running")
    there = set(os.listdir(f"/proc/{vmi.qemus()[0]}/root/dev"))
    assert there >= {"net", "null", "urandom"} | {name for name in ["userfaultfd"] if os.path.exists(f"/dev/{name}")}
    assert there <= {"net", "null", "zero", "random", "urandom", "shm", "kvm", "vhost-net", "userfaultfd"}


def test_agent_killed_while_the_vm_stops(lab):
    """Before it has heard of the deletion, while the guest switches itself off, after QEMU's end: the guest is asked, and
    its own end is what is told."""
    for i, seconds in enumerate((0, 0.05, 0.15, 0.4, 1)):
        vmi = Vmi(lab, f"vmi-stop-{i}")
        try:
            vmi.wait_phase("Running")
            vmi.guest()
            lab.delete("pod", vmi.pod["metadata"]["name"], wait=False)
            time.sleep(seconds)
            restart_agent(lab)
            wait_for(f"{vmi.name} is over", lambda: vmi.status.get("phase") in ("Succeeded", "Failed"), 60)
            assert (vmi.status["phase"], vmi.status["reason"]) == ("Succeeded", "guest-shutdown")
        finally:
            vmi.remove()


def killed_at_the_release(lab, vmi) -> pathlib.Path | None:
    """The pod's folder, if the agent was dead before it had given anything back."""
    vmi.wait_phase("Running")
    agent, folder, notes = lab.pid("node1"), vmi.dir, Notes(lab)
    os.kill(vmi.note["qemu"]["pid"], signal.SIGKILL)
    notes.wait("Released", file="pod.json")
    kill(agent)
    notes.close()
    return folder if all(path.exists() for path in held_by(lab, folder)) else None


def held_by(lab, folder) -> list[pathlib.Path]:
    network = lab.dir / "nodes/node1/run"
    return [network / "pods" / f"{folder.name}.json", network / "netns" / folder.name, folder / "disks", folder / "run"]


def test_agent_killed_between_the_note_of_a_release_and_the_release(lab):
    """The next life gives back what the pod had, though the note says that it is done. (An agent that was quicker than the
    signal proves nothing: then another VM is taken.)"""
    for i in range(10):
        vmi = Vmi(lab, f"vmi-release-{i}")
        try:
            caught = killed_at_the_release(lab, vmi)
            lab.up()
            if caught:
                wait_for("all is given back", lambda: not any(path.exists() for path in held_by(lab, caught)))
                vmi.wait_phase("Failed")
                assert note_of(caught, "pod.json") == "Released" and vmi.status["reason"] == "crashed"
                return
        finally:
            vmi.remove()
    pytest.fail("the agent was never caught")
