"""Nodes as network namespaces joined by a bridge, each with Godwit's pod network, and guests without QEMU.

A guest is a namespace with a TCP stack of its own at 10.0.2.2 behind a TAP device; a pump carries frames between that TAP
and the pod's tap0, as QEMU would. Unplugging the pump is the guest stopped; plugging it elsewhere is the guest resumed."""
import contextlib
import ctypes
import fcntl
import json
import os
import pathlib
import select
import signal
import socket
import struct
import subprocess
import threading
import time

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("GODWIT_BUILD", TOP / "build/gcc"))
NODE = BUILD / "tests/host/network-node"
PROBE = BUILD / "tests/probe/probe"
libc = ctypes.CDLL(None, use_errno=True)
CLUSTER = "10.244.0.0/16"
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000


def sh(*words, check=True):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr or done.stdout}")
    return done.stdout


@contextlib.contextmanager
def inside(netns):
    """The calling thread in another network namespace."""
    with open("/proc/thread-self/ns/net") as home, open(netns) as there:
        if libc.setns(there.fileno(), 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            libc.setns(home.fileno(), 0x40000000)


def open_tap(netns, name):
    with inside(netns):
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return fd


class Pump:
    """A child process that copies frames between two TAP descriptors; the second one can be changed or absent."""

    def __init__(self, guest_fd):
        self.control, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.control.close()
                self.run(guest_fd, theirs)
            finally:
                os._exit(0)
        theirs.close()

    @staticmethod
    def run(guest, control):
        pod, poller = -1, select.poll()
        poller.register(control, select.POLLIN)
        while True:
            for fd, _ in poller.poll():
                if fd == control.fileno():
                    message, fds, _, _ = socket.recv_fds(control, 1, 1)
                    if not message:
                        return
                    if pod >= 0:
                        poller.unregister(pod)
                        poller.unregister(guest)
                        os.close(pod)
                    pod = fds[0] if fds else -1
                    if pod >= 0:
                        poller.register(pod, select.POLLIN)
                        poller.register(guest, select.POLLIN)
                    control.send(b".")
                    break
                with contextlib.suppress(BlockingIOError, OSError):
                    os.write(pod if fd == guest else guest, os.read(fd, 65536))

    def plug(self, fd):
        socket.send_fds(self.control, [b"p"], [fd])
        self.control.recv(1)

    def unplug(self):
        self.control.send(b"u")
        self.control.recv(1)

    def close(self):
        self.control.close()
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


class Guest:
    """A VM without a machine: its address, its MAC, a namespace for its TCP stack."""

    def __init__(self, lab, name, address, mtu=1450):
        self.lab, self.name, self.address = lab, name, address
        self.mac = "52:54:00:00:%02x:%02x" % tuple(int(x) for x in address.split(".")[2:])
        self.netns = lab.namespace(name)
        self.fd = open_tap(self.netns, "eth0")
        lab.ip(name, "link set eth0 address", self.mac, "mtu", mtu, "up")
        lab.ip(name, "addr add 10.0.2.2/24 dev eth0")
        lab.ip(name, "route add default via 10.0.2.1")
        self.pump = Pump(self.fd)
        self.epoch, self.node, self.uid, self.moves, self.ports = 0, None, None, 0, None

    def start(self, node, ports=None):
        self.ports = ports
        self.uid, self.node = f"{self.name}-0", node
        pod = node.create(self)
        self.pump.plug(self.open_pod(pod))
        node.call("activate", self.uid, self.epoch)
        self.lab.gossip()

    def open_pod(self, pod):
        fd = open_tap(pod["netns"], "tap0")
        time.sleep(0.1)  # until the kernel has noticed the tap's carrier; QEMU opens it long before its guest runs
        self.lab.close_later.append(fd)
        return fd

    def move(self, target, pause=0.0, gossip=True, before_switch=None):
        """Hands the guest over as the agents do; returns seconds between unplug and plug."""
        source, old = self.node, self.uid
        self.moves += 1
        self.uid = f"{self.name}-{self.moves}"
        fd = self.open_pod(target.create(self))
        if before_switch:
            before_switch()
        start = time.monotonic()
        self.pump.unplug()
        source.call("forward", old, target.name)
        time.sleep(pause)
        self.epoch += 1
        target.call("activate", self.uid, self.epoch)
        self.pump.plug(fd)
        took = time.monotonic() - start
        self.node = target
        source.call("destroy", old)
        if gossip:
            self.lab.gossip()
        return took

    def run(self, *words, **options):
        return self.lab.popen(self.name, *words, **options)


class Node:
    def __init__(self, lab, name, number, subnet, link):
        self.lab, self.name, self.link = lab, name, link
        self.address = f"{subnet}.{number}"
        self.pod_cidr = f"10.244.{number}.0/24"
        self.netns = lab.namespace(name)
        self.gone = False

    def start(self, run_dir):
        self.run_dir = run_dir
        self.process = self.lab.popen(self.name, NODE, stdin=subprocess.PIPE)
        return self.call("open", self.name, self.address, self.pod_cidr, CLUSTER, run_dir, 0, self.link)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def restart(self):
        """As after kill -9: a new process, the same kernel and notes."""
        self.kill()
        return self.start(self.run_dir)

    def call(self, *words, check=True):
        self.process.stdin.write(" ".join(str(w) for w in words) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if check and "error" in answer:
            raise RuntimeError(f"{self.name}: {words[0]}: {answer['error']}")
        return answer

    def create(self, guest):
        return self.call("create", guest.uid, f"default/{guest.name}", guest.address, guest.mac, *([guest.ports] if guest.ports else []))

    def update(self, objects, skew=0):
        return self.call("update", json.dumps(objects, separators=(",", ":")), skew)

    def run(self, *words, **options):
        return self.lab.popen(self.name, *words, **options)


class Lab:
    count = 0

    def __init__(self, tmp, nodes=3, link="direct", routed=False):
        """routed: each node in a subnet of its own behind a router, so that no direct route is possible."""
        Lab.count += 1
        self.prefix = f"gwn{os.getpid()}.{Lab.count}-"
        self.tmp, self.names, self.processes, self.close_later, self.guests = tmp, [], [], [], []
        self.namespace("sw")
        self.ip("sw", "link add br0 type bridge")
        self.ip("sw", "link set br0 up")
        self.make_outside(nodes, routed)
        self.nodes = [self.make_node(i + 1, link, routed) for i in range(nodes)]
        for node in self.nodes:
            node.start(f"{tmp}/{node.name}")
        self.gossip()

    def make_outside(self, nodes, routed):
        """A router that is also a host outside the cluster: 203.0.113.5."""
        self.namespace("out")
        self.cable("out", "254")
        self.ip("out", "addr add 203.0.113.5/32 dev lo")
        for i in range(nodes if routed else 1):
            self.ip("out", f"addr add 10.9.{i + 1 if routed else 0}.254/24 dev eth0")
        with inside(self.path("out")):
            pathlib.Path("/proc/sys/net/ipv4/ip_forward").write_text("1" if routed else "0")

    def make_node(self, number, link, routed):
        subnet = f"10.9.{number if routed else 0}"
        node = Node(self, f"n{number}", number, subnet, link)
        self.cable(node.name, number)
        self.ip(node.name, f"addr add {node.address}/24 dev eth0")
        self.ip(node.name, f"route add default via {subnet}.254")
        return node

    def cable(self, name, number):
        self.ip("sw", f"link add p{number} type veth peer name eth0 netns {self.prefix}{name}")
        self.ip("sw", f"link set p{number} master br0 up")
        self.ip(name, "link set eth0 up")

    def path(self, name):
        return f"/run/netns/{self.prefix}{name}"

    def namespace(self, name):
        sh("ip", "netns", "add", self.prefix + name)
        self.names.append(name)
        self.ip(name, "link set lo up")
        return self.path(name)

    def ip(self, name, *words):
        return sh("ip", "-n", self.prefix + name, *" ".join(map(str, words)).split())

    def nsenter(self, netns, *words):
        return sh("nsenter", f"--net={netns}", *words)

    def popen(self, name, *words, **options):
        options = {"stdout": subprocess.PIPE, "text": True, **options}
        process = subprocess.Popen(["nsenter", f"--net={self.path(name)}", *map(str, words)], **options)
        self.processes.append(process)
        return process

    def guest(self, name, address):
        self.guests.append(Guest(self, name, address))
        return self.guests[-1]

    def gossip(self, nodes=None, rounds=2):
        """What the API server does between agents: everybody hears what everybody says; twice, for acknowledgements."""
        for _ in range(rounds):
            objects = [n.call("announce")["object"] for n in self.nodes if not n.gone]
            for node in nodes or self.nodes:
                if not node.gone:
                    node.update(objects)

    def close(self, teardown=True):
        for guest in self.guests:
            guest.pump.close()
            os.close(guest.fd)
        for fd in self.close_later:
            os.close(fd)
        if teardown:
            for node in self.nodes:
                for guest in self.guests:
                    for i in range(guest.moves + 1):
                        node.call("destroy", f"{guest.name}-{i}")
                node.call("teardown")
        self.rests = {n.name: self.rest(n.name) for n in self.nodes}
        for process in self.processes:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()
        for name in self.names:
            sh("ip", "netns", "del", self.prefix + name)

    def rest(self, name):
        """What a node's namespace holds after teardown that was not there before."""
        links = [x["ifname"] for x in json.loads(self.ip(name, "-j link show")) if x["ifname"] not in ("lo", "eth0")]
        routes = [x for x in json.loads(sh("ip", "-n", self.prefix + name, "-j", "-N", "route", "show", "table", "all"))
                  if x.get("protocol") == "71"]
        rules = [x for x in json.loads(sh("ip", "-n", self.prefix + name, "-j", "-N", "rule", "show")) if x.get("protocol") == "71"]
        tables = self.nsenter(self.path(name), "nft", "list", "tables").split("\n")
        return {"links": links, "routes": routes, "rules": rules, "tables": [t for t in tables if t]}


def finish(process, seconds=20):
    """Ends a probe and returns its finding."""
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=seconds)
    return json.loads(out.strip().splitlines()[-1])


def probe_echo(where, address, sessions=2, interval=2, port=7001):
    return where.run(PROBE, "echo", "--address", address, "--port", port, "--sessions", sessions, "--interval", interval)


def probe_serve(where, port=7001):
    process = where.run(PROBE, "serve", "--address", "0.0.0.0", "--port", port)
    time.sleep(0.3)
    return process


class Capture(threading.Thread):
    """Every IPv4 packet on a device, read from a packet socket."""

    def __init__(self, netns, device):
        super().__init__(daemon=True)
        with inside(netns):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            self.socket.bind((device, 0))
        self.socket.settimeout(0.1)
        self.packets, self.running = [], True
        self.start()

    def run(self):
        while self.running:
            with contextlib.suppress(TimeoutError):
                frame, address = self.socket.recvfrom(65536)
                if frame[12:14] == b"\x08\x00":
                    self.packets.append((address[2], frame[14:]))
        self.socket.close()

    def stop(self):
        self.running = False
        self.join()
        return self.packets


def is_rst(packet):
    ihl = (packet[0] & 15) * 4
    return packet[9] == 6 and packet[ihl + 13] & 4
