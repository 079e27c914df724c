"""A local cluster and its virtual machines, as a user sees them: through godwit, kubectl and the network."""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import time

from guest import ECHO_PORT, Guest

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("GODWIT_BUILD", TOP / "build/gcc"))
GODWIT = BUILD / "src/godwit"
PROBE = BUILD / "tests/probe/probe"
KUBECTL = TOP / "build/tools/bin/kubectl"
IMAGES = {"testguest": TOP / "build/testguest/disk.qcow2", "testguest-kernel": TOP / "build/testguest/kernel.oci.tar"}


class CommandError(Exception):
    """A command that failed, with what it said."""

    def __init__(self, command, done):
        super().__init__(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        self.code, self.stdout, self.stderr = done.returncode, done.stdout, done.stderr


def run(*command, check=True, timeout=120, text=None, env=None) -> subprocess.CompletedProcess:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, input=text, timeout=timeout, env=env)
    if check and done.returncode:
        raise CommandError(command, done)
    return done


def wait_for(what: str, look, seconds: float = 30, interval: float = 0.1):
    """Calls look() until it returns something true, and returns that; a CommandError counts as not yet."""
    end, last = time.monotonic() + seconds, None
    while True:
        try:
            found = look()
            if found:
                return found
        except CommandError as err:
            last = err
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s" + (f" ({last})" if last else ""))
        time.sleep(interval)


class Cluster:
    def __init__(self, folder: pathlib.Path, nodes: int = 2, link_rate: str | None = None, encrypt: bool = False,
                 certificate_lifetime: str | None = None):
        self.dir, self.n, self.link_rate, self.encrypt = pathlib.Path(folder), nodes, link_rate, encrypt
        self.certificate_lifetime = certificate_lifetime
        self.kubeconfig = self.dir / "kubeconfig"

    # The cluster itself

    def up(self):
        rate = ["--link-rate", self.link_rate] if self.link_rate else []
        encrypt = ["--encrypt-secrets"] if self.encrypt else []
        life = ["--certificate-lifetime", self.certificate_lifetime] if self.certificate_lifetime else []
        return run(GODWIT, "cluster", "up", "--dir", self.dir, "--nodes", self.n, *rate, *encrypt, *life, timeout=180)

    def down(self, purge=False):
        return run(GODWIT, "cluster", "down", "--dir", self.dir, *(["--purge"] if purge else []), timeout=120)

    def status(self) -> subprocess.CompletedProcess:
        return run(GODWIT, "cluster", "status", "--dir", self.dir, check=False)

    def import_images(self, *names):
        for name in names or IMAGES:
            run(GODWIT, "image", "import", name, IMAGES[name], "--store", self.dir / "images")

    @property
    def plan(self) -> dict:
        return json.loads((self.dir / "cluster.json").read_text())

    @property
    def nodes(self) -> list[str]:
        return [f"node{i}" for i in range(1, self.n + 1)]

    def netns(self, node: str) -> str:
        return f"gw{self.plan['id']}-{node}"

    def inside(self, node: str) -> list[str]:
        """A prefix that runs a command in a node's network."""
        return ["ip", "netns", "exec", self.netns(node)]

    def node_address(self, node: str) -> str:
        subnet = self.plan["subnet"]
        return f"100.{64 + subnet // 256}.{subnet % 256}.{10 + int(node.removeprefix('node'))}"

    def pid(self, name: str) -> int:
        """Of "server" or a node's agent."""
        return int((self.dir / "run" / f"{name}.pid").read_text().split()[0])

    def kill(self, name: str):
        """kill -9 of "server" or a node's agent."""
        os.kill(self.pid(name), signal.SIGKILL)

    def log(self, name: str) -> str:
        return (self.dir / "logs" / f"{name}.log").read_text(errors="replace")

    # kubectl

    def kubectl(self, *args, check=True, text=None, timeout=60) -> subprocess.CompletedProcess:
        env = dict(os.environ, KUBECONFIG=str(self.kubeconfig), HOME=str(self.dir))
        return run(KUBECTL, *args, check=check, text=text, timeout=timeout, env=env)

    def get(self, kind: str, name: str | None = None, ns: str | None = None, check=True) -> dict | None:
        done = self.kubectl("get", kind, *([name] if name else []), *(["-n", ns] if ns else ["-A"] if not name else []),
                            "-o", "json", check=check)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def create(self, manifest: dict | str, ns: str = "default") -> dict:
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        return json.loads(self.kubectl("create", "-n", ns, "-f", "-", "-o", "json", text=text).stdout)

    def delete(self, kind: str, name: str, ns: str = "default", wait=True):
        self.kubectl("delete", kind, name, "-n", ns, "--ignore-not-found", f"--wait={str(wait).lower()}", timeout=120)

    # Processes

    def start_probe(self, node: str, kind: str, **options) -> "Probe":
        return Probe(self.inside(node), kind, options)


class Probe:
    """tests/probe in a node's network; stop() returns its findings."""

    def __init__(self, prefix: list, kind: str, options: dict):
        arguments = [str(word) for key, value in options.items() for word in (f"--{key.replace('_', '-')}", value)]
        self.process = subprocess.Popen(prefix + [str(PROBE), kind, *arguments], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, stdin=subprocess.PIPE, text=True)

    def tell(self, line: str):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def stop(self) -> dict:
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=30)
        if not out.strip():
            raise RuntimeError(f"probe: {err}")
        return json.loads(out)

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


class Vm:
    """One VirtualMachine of the cluster with the test guest inside."""

    def __init__(self, cluster: Cluster, name: str, ns: str = "default"):
        self.cluster, self.name, self.ns = cluster, name, ns
        self.migrations = 0

    @property
    def vmi(self) -> dict:
        return self.cluster.get("vmi", self.name, self.ns)

    @property
    def node(self) -> str:
        return self.vmi["status"]["nodeName"]

    @property
    def address(self) -> str:
        return self.vmi["status"]["interfaces"][0]["ipAddress"]

    def other_node(self) -> str:
        return next(n for n in self.cluster.nodes if n != self.node)

    def wait_running(self, seconds=90):
        wait_for(f"{self.name} runs", lambda: self.vmi["status"].get("phase") == "Running"
                 and self.vmi["status"].get("interfaces"), seconds)

    def guest(self, from_node: str | None = None) -> Guest:
        """The agent in the guest, asked from a node (by default the first one)."""
        return Guest(self.address, prefix=self.cluster.inside(from_node or self.cluster.nodes[0]))

    def wait_guest(self, seconds=90) -> Guest:
        self.wait_running(seconds)
        guest = self.guest()
        guest.wait(seconds)
        return guest

    def qemu_pid(self, node: str) -> int | None:
        """The QEMU of this VM on a node, found by its network namespace's launcher pod folder."""
        for pod in self.cluster.get("pods", ns=self.ns)["items"]:
            if pod["metadata"].get("annotations", {}).get("kubevirt.io/domain") != self.name:
                continue
            if pod["spec"].get("nodeName") == node and pod["status"].get("phase") in ("Pending", "Running"):
                return process_naming(pod["metadata"]["uid"], "qemu-system")
        return None

    def launcher_pid(self, node: str) -> int | None:
        for pod in self.cluster.get("pods", ns=self.ns)["items"]:
            if pod["metadata"].get("annotations", {}).get("kubevirt.io/domain") == self.name \
                    and pod["spec"].get("nodeName") == node and pod["status"].get("phase") in ("Pending", "Running"):
                return process_naming(pod["metadata"]["uid"], "godwit")
        return None

    def start_migration(self, name: str | None = None, **spec) -> "Migration":
        self.migrations += 1
        name = name or f"{self.name}-m{self.migrations}"
        self.cluster.create({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration",
                             "metadata": {"name": name}, "spec": {"vmiName": self.name, **spec}}, self.ns)
        return Migration(self.cluster, name, self.ns)

    def migrate(self, seconds=90) -> dict:
        """Moves the VM and returns the VMI's migrationState."""
        migration = self.start_migration()
        assert migration.wait_final(seconds) == "Succeeded", migration.describe()
        return self.vmi["status"]["migrationState"]


class Migration:
    def __init__(self, cluster: Cluster, name: str, ns: str):
        self.cluster, self.name, self.ns = cluster, name, ns

    @property
    def object(self) -> dict | None:
        return self.cluster.get("vmim", self.name, self.ns, check=False)

    @property
    def phase(self) -> str:
        return (self.object or {}).get("status", {}).get("phase", "")

    def wait_phase(self, *phases, seconds=60) -> str:
        wait_for(f"{self.name} is {' or '.join(phases)}", lambda: self.phase in phases, seconds, interval=0.02)
        return self.phase

    def wait_final(self, seconds=90) -> str:
        return self.wait_phase("Succeeded", "Failed", seconds=seconds)

    def describe(self) -> str:
        return self.cluster.kubectl("get", "vmi,vmim", "-n", self.ns, "-o", "yaml", check=False).stdout


def process_naming(text: str, program: str) -> int | None:
    """The process of that program with text in an argument."""
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if program in words[0] and any(text in word for word in words[1:]):
                return int(entry.name)
    return None


def vm_manifest(name: str, memory="128Mi", disks=(), kernel_boot=False, ports=None, run_strategy="Always", **spec) -> dict:
    """A VirtualMachine with the test guest. disks: (name, volume source) pairs; the name is the serial, too."""
    system = [] if kernel_boot else [("system", {"containerDisk": {"image": "testguest"}})]
    volumes = system + list(disks)
    interface = {"name": "default", "masquerade": {}}
    if ports:
        interface["ports"] = [{"port": port, "protocol": protocol} for protocol, port in ports]
    domain = {"memory": {"guest": memory}, "devices": {
        "disks": [{"name": n, "serial": n, "disk": {"bus": "virtio"}} for n, _ in volumes], "interfaces": [interface]}}
    if kernel_boot:
        domain["firmware"] = {"kernelBoot": {"kernelArgs": "console=ttyS0 quiet", "container": {
            "image": "testguest-kernel", "kernelPath": "/boot/vmlinuz", "initrdPath": "/boot/initrd"}}}
    return {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": name},
            "spec": {"runStrategy": run_strategy, "template": {
                "metadata": {"labels": {"kubevirt.io/domain": name}},
                "spec": {"terminationGracePeriodSeconds": 10, "domain": domain,
                         "networks": [{"name": "default", "pod": {}}],
                         "volumes": [{"name": n, **source} for n, source in volumes], **spec}}}}


EMPTY_DISK = {"emptyDisk": {"capacity": "32Mi"}}
ECHO = ECHO_PORT
