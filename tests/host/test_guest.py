"""The test guest by itself: that it boots both ways, and that what it verifies would be found wrong if it were."""
import json
import signal
import socket
import subprocess

import pytest
from guest import Guest, GuestError
from qemu import GUEST, TOP, Qemu, disk, migrate

PROBE = TOP / "build/gcc/tests/probe/probe"
HOST_FROM_GUEST = "10.0.2.2"  # as QEMU's user-mode network has it


def free_port() -> int:
    """A port that is free now, and the next one too."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                other.bind(("127.0.0.1", port + 1))
                return port
            except OSError:
                continue


def machine(work, name, agent_port, *extra, **options):
    forward = f"hostfwd=tcp:127.0.0.1:{agent_port}-:7000,hostfwd=tcp:127.0.0.1:{agent_port + 1}-:7001," \
              f"hostfwd=udp:127.0.0.1:{agent_port + 1}-:7001"
    return Qemu(work, name, ["-netdev", f"user,id=n0,{forward}", "-device", "virtio-net-pci,netdev=n0", *extra], **options)


def drives(work):
    return ["-drive", f"if=none,id=boot,file={work}/boot.qcow2,cache.direct=on", "-device",
            "virtio-blk-pci,drive=boot,bootindex=1,share-rw=on",
            "-drive", f"if=none,id=data,file={work}/data.raw,format=raw,cache.direct=on", "-device",
            "virtio-blk-pci,drive=data,serial=data,share-rw=on"]


@pytest.fixture
def work(tmp_path):
    disk(tmp_path / "boot.qcow2", GUEST / "disk.qcow2")
    (tmp_path / "data.raw").write_bytes(bytes(16 << 20))
    return tmp_path


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def machines():
    started = []
    yield started
    for qemu in started:
        qemu.close()


def test_boots_from_disk(work, machines, port):
    machines.append(machine(work, "disk", port, *drives(work)))
    guest = Guest("127.0.0.1", port)
    guest.wait()
    assert guest.values("info")["uptime"]
    assert "Godwit test guest" in machines[0].console.read_text()


def test_boots_from_kernel(work, machines, port):
    machines.append(machine(work, "kernel", port, "-kernel", str(GUEST / "vmlinuz"), "-initrd", str(GUEST / "initrd"),
                            "-append", "console=ttyS0 quiet"))
    Guest("127.0.0.1", port).wait()


def test_power_button_switches_off(work, machines, port):
    machines.append(machine(work, "button", port, *drives(work)))
    Guest("127.0.0.1", port).wait()
    machines[0].run("system_powerdown")
    machines[0].wait_event("SHUTDOWN", 20, reason="guest-shutdown")


def test_cloud_init_names_the_guest_and_runs_its_script(work, machines, port):
    seed = work / "seed"
    seed.mkdir()
    (seed / "meta-data").write_text('instance-id: one\nlocal-hostname: "swift"\n')
    (seed / "user-data").write_text("#!/bin/sh\necho done >/tmp/ran\n")
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-J", "-R", "-V", "cidata", "-o", work / "seed.iso", seed],
                   check=True, capture_output=True)
    machines.append(machine(work, "cloud", port, *drives(work), "-drive",
                            f"if=virtio,format=raw,readonly=on,file={work}/seed.iso"))
    guest = Guest("127.0.0.1", port)
    guest.wait()
    assert guest.ask("sh hostname") == "swift exit=0"
    assert guest.ask("sh cat /tmp/ran") == "done exit=0"


def test_finds_damaged_memory(work, machines, port):
    """A page changed behind the guest's back through QEMU's monitor is reported with its number."""
    machines.append(machine(work, "damage", port, *drives(work), "-gdb", f"unix:{work}/gdb,server=on,wait=off"))
    guest = Guest("127.0.0.1", port)
    guest.wait()
    guest.ask("memory-init 8")
    guest.ask("memory-verify")
    address = find_page(machines[0], work, 77)
    poke(work / "gdb", address + 2048)
    with pytest.raises(GuestError, match="bad=1 of pages=2048; page 77"):
        guest.ask("memory-verify")


def find_page(qemu, work, number):
    """The guest-physical address of the agent's page of that number, found by its first two words."""
    path = work / "ram"
    qemu.run("pmemsave", val=0, size=128 << 20, filename=str(path))
    ram, wanted = path.read_bytes(), number.to_bytes(8, "little") + (1).to_bytes(8, "little")
    found = [at for at in range(0, len(ram), 4096) if ram[at:at + 16] == wanted and ram[at + 16:at + 24] != bytes(8)]
    assert len(found) == 1
    return found[0]


def poke(gdb_socket, address):
    """One byte of guest-physical memory, by the debugger's protocol."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(gdb_socket))
        for packet in ("Qqemu.PhyMemMode:1", f"M{address:x},1:ff", "D"):
            s.sendall(f"${packet}#{sum(packet.encode()) % 256:02x}".encode())
            answer = s.recv(4096)
            while b"#" not in answer:
                answer += s.recv(4096)
            assert b"OK" in answer, (packet, answer)
            s.sendall(b"+")


def test_finds_a_disk_that_lacks_records(work, machines, port):
    machines.append(machine(work, "journal", port, *drives(work)))
    guest = Guest("127.0.0.1", port)
    guest.wait()
    guest.ask("journal-start data 5")
    guest.ask("sh sleep 1")
    last = guest.values("journal-stop data")["acknowledged"]
    assert last > 20
    assert guest.values("journal-verify data")["missing"] == 0
    with open(work / "data.raw", "r+b") as image:
        image.seek((last - 5) * 4096 + 100)
        image.write(b"?")
    with pytest.raises(GuestError, match=f"missing=1 first={last - 5} "):
        guest.ask("journal-verify data")


def test_probe_measures_a_pause(work, machines, port):
    machines.append(machine(work, "pause", port, *drives(work)))
    guest = Guest("127.0.0.1", port)
    guest.wait()
    probes = [subprocess.Popen([PROBE, kind, "--port", str(port + 1)], stdout=subprocess.PIPE, text=True) for kind in ("udp", "echo")]
    tick_port = free_port()
    guest.ask(f"tick-start {HOST_FROM_GUEST} {tick_port} 5")
    ticks = subprocess.Popen([PROBE, "ticks", "--address", "0.0.0.0", "--port", str(tick_port)], stdout=subprocess.PIPE, text=True)
    guest.ask("sh sleep 1")
    machines[0].run("stop")
    subprocess.run(["sleep", "0.7"], check=True)
    machines[0].run("cont")
    guest.ask("sh sleep 1")
    for probe in (*probes, ticks):
        probe.send_signal(signal.SIGTERM)
    udp, echo, tick = (json.loads(probe.communicate()[0]) for probe in (*probes, ticks))
    assert all(690 < found["gap_ms"] < 1500 for found in (udp, echo, tick)), (udp, echo, tick)
    assert echo["sent"] == echo["echoed"] > 200 and echo["bad"] == 0


def test_survives_a_bare_migration(work, machines, port):
    """Two QEMUs on this host; memory, disks and the guest's clock go over while it writes."""
    source = machine(work, "source", port, *drives(work))
    machines.append(source)
    guest = Guest("127.0.0.1", port)
    guest.wait()
    guest.ask("memory-init all")
    guest.ask("memory-dirty 20 8")
    guest.ask("journal-start data 5")
    guest.ask("journal-start vda 5 48")
    before = guest.values("info")
    elsewhere = free_port()
    target = machine(work, "target", elsewhere, *drives(work), "-S", "-incoming", "defer")
    machines.append(target)
    outcome = migrate(source, target, f"unix:{work}/migration")
    source.close()
    moved = Guest("127.0.0.1", elsewhere)
    moved.wait(10)
    assert moved.values("info")["boot_id"] == before["boot_id"]
    assert moved.values("memory-verify")["bad"] == 0
    written = moved.values("memory-verify")["writes"]
    assert moved.values("journal-verify data")["missing"] == 0
    assert moved.values("journal-verify vda")["missing"] == 0
    moved.ask("sh sleep 1")
    assert moved.values("memory-verify")["writes"] > written
    assert outcome["ram"]["transferred"] > 40 << 20
