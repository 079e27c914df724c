"""What reaches a guest through the agent that has it: logs, pause, reset, console, port forwards."""
import json
import os
import pty
import select
import socket
import subprocess
import time

import pytest
from cluster import GODWIT, KUBECTL, CommandError, Vm, run, vm_manifest, wait_for
from guest import Guest, GuestError
from subresources import Refused, Subresources

VMI = "virtualmachineinstances/vm1"


@pytest.fixture(scope="module")
def machine(cluster, module_ns) -> Vm:
    manifest = vm_manifest("vm1", kernel_boot=True)
    domain = manifest["spec"]["template"]["spec"]["domain"]
    domain["devices"]["autoattachGraphicsDevice"] = True
    domain["firmware"]["kernelBoot"]["container"]["initrdPath"] = "/boot/initrd-agent"
    cluster.create(manifest, module_ns)
    made = Vm(cluster, "vm1", module_ns)
    made.wait_guest()
    return made


@pytest.fixture(scope="module")
def sub(cluster, module_ns) -> Subresources:
    return Subresources(cluster.kubeconfig, module_ns)


def pod_of(machine: Vm) -> str:
    return next(p["metadata"]["name"] for p in machine.cluster.get("pods", ns=machine.ns)["items"]
                if p["status"]["phase"] == "Running")


def answers(machine: Vm) -> bool:
    try:
        return machine.guest().ask_once("ping", 1).startswith("ok")
    except Exception:
        return False


def is_paused(machine: Vm) -> bool:
    return any(c["type"] == "Paused" and c["status"] == "True" and c["reason"] == "PausedByUser"
               for c in machine.vmi["status"]["conditions"])


def test_logs_of_a_launcher(cluster, machine):
    pod, ns = pod_of(machine), machine.ns
    log = cluster.kubectl("logs", pod, "-n", ns).stdout
    assert "launcher: QEMU runs as process" in log
    assert cluster.kubectl("logs", pod, "-n", ns, "-c", "compute", "--tail=1").stdout == log.splitlines()[-1] + "\n"
    assert cluster.kubectl("logs", pod, "-n", ns, "--limit-bytes=8").stdout == "launcher"
    assert cluster.kubectl("logs", pod, "-n", ns, "--timestamps").stdout.startswith("20")
    assert cluster.kubectl("logs", pod, "-n", ns, "--since=1h").stdout == log
    for options, text in ((["-c", "other"], "container other is not valid"), (["--previous"], "not found")):
        with pytest.raises(CommandError, match=text):
            cluster.kubectl("logs", pod, "-n", ns, *options)
    with pytest.raises(CommandError, match="not found"):
        cluster.kubectl("logs", "nobody", "-n", ns)


def test_pause_holds_through_a_restart_and_a_migration(cluster, machine, sub):
    boot = machine.guest().values("info")["boot_id"]
    sub.put(f"{VMI}/pause", {"dryRun": ["All"]})
    assert not is_paused(machine) and answers(machine)
    sub.put(f"{VMI}/pause", {})
    assert is_paused(machine) and not answers(machine)
    with pytest.raises(Refused, match="409.*already paused"):
        sub.put(f"{VMI}/pause")
    with pytest.raises(Refused, match="409.*paused"):
        sub.open(f"{VMI}/portforward/8000")
    cluster.kill(machine.node)
    cluster.up()  # starts what is not there
    machine.migrate()
    time.sleep(1)
    assert is_paused(machine) and not answers(machine)
    sub.put(f"{VMI}/unpause")
    assert not is_paused(machine)
    machine.guest().wait(10)
    assert machine.guest().values("info")["boot_id"] == boot
    with pytest.raises(Refused, match="409.*not paused"):
        sub.put(f"{VMI}/unpause")


def is_connected(machine: Vm) -> bool:
    return any(c["type"] == "AgentConnected" and c["status"] == "True" for c in machine.vmi["status"]["conditions"])


def ask_virtctl(machine: Vm, verb: str) -> dict:
    done = run(GODWIT, "virtctl", verb, "vm1", "-n", machine.ns, "--kubeconfig", machine.cluster.kubeconfig)
    return json.loads(done.stdout)


def test_the_agent_in_the_guest(machine, sub):
    """It has been through a migration, and so has its port."""
    wait_for("the guest's agent", lambda: is_connected(machine), 20)
    info = ask_virtctl(machine, "guestosinfo")
    assert info["os"]["prettyName"] == "Godwit test guest 1" and info["hostname"] == "guest"
    assert {"name": "guest-ping", "enabled": True} in info["supportedCommands"]
    assert ask_virtctl(machine, "userlist")["items"] == []
    disk = ask_virtctl(machine, "fslist")["items"][0]
    assert (disk["diskName"], disk["mountPoint"]) == ("loop0", "/srv") and info["fsInfo"] == {"disks": [disk]}
    wait_for("its system", lambda: machine.vmi["status"].get("guestOSInfo", {}).get("id") == "godwit", 20)
    nic = machine.vmi["status"]["interfaces"][0]
    assert (nic["infoSource"], nic["interfaceName"], nic["name"]) == ("domain, guest-agent", "eth0", "default")
    assert nic["ipAddress"] == machine.cluster.get("vmi", "vm1", machine.ns)["metadata"]["annotations"]["godwit.io/pod-address"]


def test_who_freezes_and_dies_is_followed_by_a_thaw(cluster, machine, sub):
    with pytest.raises(Refused, match="400.*timeout in freeze request is not set"):
        sub.put(f"{VMI}/freeze")
    sub.put(f"{VMI}/freeze", {"unfreezeTimeout": "1h0m0s"})
    assert ask_virtctl(machine, "guestosinfo")["fsFreezeStatus"] == "frozen"
    wait_for("the status says so", lambda: machine.vmi["status"].get("fsFreezeStatus") == "frozen", 10)
    sub.put(f"{VMI}/unfreeze")
    wait_for("and that it is over", lambda: "fsFreezeStatus" not in machine.vmi["status"], 10)
    sub.put(f"{VMI}/freeze", {"unfreezeTimeout": "1s"})
    cluster.kill(machine.node)
    time.sleep(1)
    cluster.up()
    wait_for("it thaws", lambda: not machine.vmi["metadata"]["annotations"].get("godwit.io/unfreeze-at"), 20)
    wait_for("the guest says so", lambda: ask_virtctl(machine, "guestosinfo")["fsFreezeStatus"] == "thawed", 20)


def test_a_soft_reboot_by_the_agent(machine, sub):
    boot = machine.guest().values("info")["boot_id"]
    sub.put(f"{VMI}/softreboot")
    wait_for("its agent is gone", lambda: not is_connected(machine), 10)
    with pytest.raises(Refused, match="409.*VMI does not have guest agent connected"):
        sub.call("GET", f"{VMI}/guestosinfo")
    wait_for("it is back", lambda: is_connected(machine), 40)
    assert machine.guest().values("info")["boot_id"] != boot


def test_a_pause_in_mid_migration_is_kept(machine, sub):
    machine.guest().ask("memory-init 40")
    machine.guest().ask("memory-dirty 40 8")
    migration = machine.start_migration()
    migration.wait_phase("Running")
    sub.put(f"{VMI}/pause")
    assert migration.wait_final() == "Succeeded", migration.describe()
    assert is_paused(machine) and not answers(machine)
    sub.put(f"{VMI}/unpause")
    machine.guest().wait(10)
    assert machine.guest().values("memory-verify")["bad"] == 0


def test_console_both_ways_for_several(machine, sub):
    one, other = sub.open(f"{VMI}/console"), sub.open(f"{VMI}/console")
    one.send(b"\n")
    one.read_until(b"login:")
    one.send(b"root\n")
    one.read_until(b"assword:")
    one.send(b"godwit\n")
    one.send(b"echo con$((40 + 2))sole\n")
    assert b"con42sole" in one.read_until(b"con42sole")
    other.read_until(b"con42sole")
    other.close()
    one.send(b"exit\n")
    one.read_until(b"login:")
    one.close()


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, *command):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(command[0], [str(word) for word in command])
        self.seen = ""

    def expect(self, text: str, seconds=30):
        end = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < end, self.seen
            if select.select([self.fd], [], [], 0.2)[0]:
                self.seen += os.read(self.fd, 4096).decode(errors="replace")
        self.seen = self.seen.split(text, 1)[1]

    def type(self, text: str):
        os.write(self.fd, text.encode())

    def end(self) -> int:
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.fd)
        return code


def test_console_of_virtctl_survives_a_migration(cluster, machine):
    terminal = Terminal(GODWIT, "virtctl", "console", "vm1", "-n", machine.ns, "--kubeconfig", cluster.kubeconfig)
    terminal.expect("Successfully connected to vm1 console. Press Ctrl+] or Ctrl+5 to exit console.")
    terminal.type("\n")
    terminal.expect("login:")
    machine.migrate()
    terminal.expect("The console was interrupted, and is connected again.")
    terminal.type("\n")
    terminal.expect("login:")
    terminal.type("\x1d")
    assert terminal.end() == 0


def test_vnc_answers(machine, sub):
    viewer = sub.open(f"{VMI}/vnc?preserveSession=false")
    assert viewer.read_until(b"\n") == b"RFB 003.008\n"
    viewer.send(b"RFB 003.008\n")
    assert viewer.read_until(b"\x01") == b"\x01\x01"  # one kind of security, none: the server has asked who it is
    viewer.send(b"\x01")
    assert viewer.read_until(b"\0\0\0\0") == b"\0\0\0\0"
    viewer.send(b"\x01")
    assert b"QEMU" in viewer.read_until(b"QEMU")
    viewer.close()


def test_vnc_of_virtctl(cluster, machine):
    command = [str(GODWIT), "virtctl", "vnc", "vm1", "--proxy-only", "-n", machine.ns, "--kubeconfig", str(cluster.kubeconfig)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        port = json.loads(proxy.stdout.readline())["port"]
        with socket.create_connection(("127.0.0.1", port), timeout=10) as viewer:
            assert viewer.recv(12) == b"RFB 003.008\n"
        assert proxy.wait(timeout=10) == 0


def test_port_forward_of_virtctl(cluster, machine):
    options = ["-n", machine.ns, "--kubeconfig", str(cluster.kubeconfig)]
    done = run(GODWIT, "virtctl", "port-forward", "--stdio", "vm/vm1", "7001x", *options, check=False)
    assert done.returncode == 1 and "want [tcp/][LOCAL:]PORT" in done.stderr
    with subprocess.Popen([str(GODWIT), "virtctl", "port-forward", "--stdio", "vmi/vm1", "7000", *options],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as piped:
        piped.stdin.write(b"ping\n")
        piped.stdin.flush()
        assert piped.stdout.readline() == b"ok\n"
        piped.terminate()
    command = [str(GODWIT), "virtctl", "port-forward", "vm/vm1", "17000:7000", "tcp/17001:9", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as forward:
        assert forward.stderr.readline() == "forwarding tcp 127.0.0.1:17000 to 7000\n"
        assert forward.stderr.readline() == "forwarding tcp 127.0.0.1:17001 to 9\n"
        local = Guest("127.0.0.1", 17000)
        assert local.ask("ping") == ""
        assert local.ask("sh seq 1 20000 | tail -1") == "20000 exit=0"
        with pytest.raises(GuestError):
            Guest("127.0.0.1", 17001).ask("ping", timeout=5)
        assert local.ask("ping") == ""
        forward.terminate()


def test_strangers_are_refused(cluster, machine, tmp_path):
    config = tmp_path / "kubeconfig"
    server = json.loads(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    config.write_text(run(GODWIT, "kubeconfig", "--user", "eve", "--server", server, "--data-dir", cluster.dir / "server").stdout)
    eve = Subresources(config, machine.ns)
    for what, ask in (("console", eve.open), ("portforward/7000", eve.open), ("pause", eve.put), ("reset", eve.put)):
        with pytest.raises(Refused, match='User .*eve.* cannot') as refused:
            ask(f"{VMI}/{what}")
        assert refused.value.status == 403 and f"virtualmachineinstances/{what.split('/')[0]}" in refused.value.text
    done = run(KUBECTL, "--kubeconfig", config, "logs", pod_of(machine), "-n", machine.ns, check=False)
    assert done.returncode and "forbidden" in done.stderr
    role = ["--clusterrole=kubevirt.io:edit", "--user=eve", "-n", machine.ns]
    cluster.kubectl("create", "rolebinding", "eve", *role)
    tunnel = eve.open(f"{VMI}/portforward/7000")
    tunnel.send(b"ping\n")
    assert tunnel.read_until(b"ok") == b"ok\n"
    tunnel.close()


def test_port_forward_carries_much_both_ways(machine, sub):
    machine.guest().ask("sh nc -ll -p 8000 -e cat >/dev/null 2>&1 &")
    tunnel = sub.open(f"{VMI}/portforward/8000/tcp")
    sent = os.urandom(1 << 20) * 3
    assert tunnel.exchange(sent) == sent
    tunnel.close()
    vm = sub.open("virtualmachines/vm1/portforward/8000")
    vm.send(b"by the machine's name")
    assert vm.read_until(b"name") == b"by the machine's name"
    vm.close()
    closed = sub.open(f"{VMI}/portforward/9")
    assert closed.receive() == b"" and closed.closed == 1000  # nobody listens there
    for path, status in ((f"{VMI}/portforward/x", 400), (f"{VMI}/portforward/22/udp", 400), (f"{VMI}/portforward", 400),
                         ("virtualmachineinstances/nobody/console", 404)):
        with pytest.raises(Refused) as refused:
            sub.open(path)
        assert refused.value.status == status
    with pytest.raises(Refused, match="400.*websocket"):
        sub.call("GET", f"{VMI}/console")


def test_reset_boots_the_guest_anew(machine, sub):
    boot, uid = machine.guest().values("info")["boot_id"], machine.vmi["metadata"]["uid"]
    sub.put(f"{VMI}/reset")
    wait_for("another boot", lambda: answers(machine) and machine.guest().values("info")["boot_id"] != boot, 60)
    assert machine.vmi["metadata"]["uid"] == uid


def test_agents_believe_the_server_only(cluster, machine):
    """A node's own certificate, and none at all, open nothing of a guest."""
    node = machine.node
    port = cluster.get("node", node)["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    url = f"https://{cluster.node_address(node)}:{port}/vmis/{machine.vmi['metadata']['uid']}/pause"
    state = cluster.dir / "nodes" / node / "pki"
    own = ["--cert", str(state / "node.crt"), "--key", str(state / "node.key")]
    for options, status in (([], "401"), (own, "404")):
        done = subprocess.run(cluster.inside(node) + ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "-X", "PUT", *options, url],
                              capture_output=True, text=True, timeout=20)
        assert done.stdout == status, done
    assert answers(machine)


def test_not_running(cluster, ns):
    manifest = vm_manifest("vm1", nodeSelector={"kubernetes.io/hostname": "nowhere"})
    cluster.create(manifest, ns)
    wait_for("the VMI is there", lambda: cluster.get("vmi", "vm1", ns, check=False), 10)
    sub = Subresources(cluster.kubeconfig, ns)
    for what, status in (("pause", 409), ("unpause", 409), ("reset", 409)):
        with pytest.raises(Refused, match="VM is not running") as refused:
            sub.put(f"{VMI}/{what}")
        assert refused.value.status == status
    with pytest.raises(Refused, match="400"):  # so that virtctl waits
        sub.open(f"{VMI}/console")
    with pytest.raises(Refused, match="400.*No graphics devices"):
        sub.open(f"{VMI}/vnc")


def says_too_much(sub: Subresources) -> bool:
    try:
        sub.call("GET", f"{VMI}/userlist")
    except Refused as refused:
        return "sends more than" in refused.text
    return False


def cpu_seconds(pid: int) -> float:
    words = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def test_softreboot_lets_the_guest_shut_down_first(cluster, machine, sub):
    """Where what sits on the agent's port is no agent. And logs are followed through it, up to QEMU's end."""
    machine.guest().ask("sh touch /run/no-qemu-ga; killall qemu-ga; "
                        "(sleep 0.3; for port in /dev/vport*p1; do cat /dev/zero >$port; done) >/dev/null 2>&1 &")
    wait_for("its agent is gone, and something else is there", lambda: says_too_much(sub), 20)
    pid, before = cluster.pid(machine.node), time.monotonic()
    used = cpu_seconds(pid)
    for _ in range(2):
        with pytest.raises(Refused, match="500.*Guest agent is not responding: "):
            sub.call("GET", f"{VMI}/userlist")
        sub.put(f"{VMI}/pause")
        sub.put(f"{VMI}/unpause")
    assert cpu_seconds(pid) - used < 0.5 * (time.monotonic() - before) + 0.2  # the flood is the guest's trouble
    boot, uid = machine.guest().values("info")["boot_id"], machine.vmi["metadata"]["uid"]
    command = [KUBECTL, "--kubeconfig", cluster.kubeconfig, "logs", "-f", pod_of(machine), "-n", machine.ns]
    with subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True) as following:
        assert "launcher: " in following.stdout.readline()
        sub.put(f"{VMI}/softreboot")
        wait_for("another boot", lambda: answers(machine) and machine.guest().values("info")["boot_id"] != boot, 60)
        assert machine.vmi["metadata"]["uid"] == uid
        machine.guest().ask("poweroff")  # ends it, as without a reboot before
        out, _ = following.communicate(timeout=30)
    assert "QEMU ended: guest-shutdown" in out
