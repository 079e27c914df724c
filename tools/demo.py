#!/usr/bin/python3
"""./dev demo [--keep]: the main job, shown on this machine. A cluster of two nodes, a virtual machine, a live migration by
kubectl, and a report. What was started is removed again, whatever happens; with --keep the cluster stays."""
import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "tests/lib"))
from cluster import ECHO, GODWIT, KUBECTL, Cluster, CommandError, Vm  # noqa: E402
from guest import GuestError  # noqa: E402

MEMORY_MIB, DIRTY_MIB_PER_SECOND = 48, 5
LINK_RATE = "500mbit"  # slow enough for the progress bar to be seen


class Interrupted(Exception):
    pass


def say(text: str):
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def show(cluster: Cluster, *args):
    """Runs kubectl before the eyes of the reader."""
    print(f"$ kubectl {' '.join(args)}", flush=True)
    print(cluster.kubectl(*args).stdout, end="", flush=True)


def start_vm(cluster: Cluster) -> Vm:
    say("A virtual machine from examples/vm.yaml")
    show(cluster, "create", "-f", "examples/vm.yaml")
    begin = time.monotonic()
    vm = Vm(cluster, "vm1")
    guest = vm.wait_guest(90)
    print(f"It runs on {vm.node} and answers at {vm.address} after {time.monotonic() - begin:.1f} s.")
    print(f"The guest fills {MEMORY_MIB} MiB, goes on changing {DIRTY_MIB_PER_SECOND} MiB/s of it, and keeps a journal on its disks.")
    guest.ask(f"memory-init {MEMORY_MIB}")
    guest.ask(f"memory-dirty {DIRTY_MIB_PER_SECOND} 8")
    guest.ask("journal-start data 10")
    guest.ask("journal-start vda 10 48")
    show(cluster, "get", "vmi")
    return vm


def migrate(cluster: Cluster) -> bool:
    say("Live migration from examples/migration.yaml")
    show(cluster, "create", "-f", "examples/migration.yaml")
    return subprocess.run([GODWIT, "watch", "vmim", "migration1", "--kubeconfig", cluster.kubeconfig]).returncode == 0


def report(vm: Vm, blackout: dict, before: dict) -> bool:
    """Prints the findings; false if something is not as it should be."""
    state, guest = vm.vmi["status"]["migrationState"], vm.guest()
    progress = state.get("progress", {})
    after = guest.values("info")
    checks = {"guest memory": "memory-verify", "guest disk (empty disk)": "journal-verify data", "guest disk (container disk)": "journal-verify vda"}
    verdicts = {}
    for what, command in checks.items():
        try:
            guest.ask(command)
            verdicts[what] = "verified"
        except GuestError as err:
            verdicts[what] = f"NOT AS IT WAS: {err}"
    if after["boot_id"] != before["boot_id"]:
        verdicts["guest memory"] = "NOT AS IT WAS: the guest has booted anew"
    rows = {
        "source": state.get("sourceNode"), "target": state.get("targetNode"),
        "address": f"{vm.address} (unchanged)" if vm.address == before["address"] else f"{before['address']}, now {vm.address}",
        "total time": f"{progress.get('totalTimeMs', 0) / 1000:.2f} s",
        "bytes sent": f"{progress.get('bytesTransferred', 0) / (1 << 20):.1f} MiB",
        "rounds": progress.get("iteration"),
        "downtime by QEMU": f"{progress.get('downtimeMs')} ms",
        "blackout by probe": f"{blackout['gap_ms']:.0f} ms between two answers at 5 ms, {blackout['lost']} datagrams lost",
        **verdicts}
    say("Report")
    for name, value in rows.items():
        print(f"  {name:28} {value}")
    return all(v == "verified" for v in verdicts.values()) and vm.address == before["address"]


def run_demo(cluster: Cluster) -> bool:
    say(f"A cluster of two nodes, each a network namespace, with links of {LINK_RATE}")
    cluster.up()
    print(cluster.status().stdout, end="")
    cluster.import_images("testguest")
    vm = start_vm(cluster)
    before = dict(vm.guest().values("info"), address=vm.address)
    probe = cluster.start_probe("node1", "udp", address=vm.address, port=ECHO, interval=5)
    try:
        moved = migrate(cluster)
        time.sleep(1)
        blackout = probe.stop()
    finally:
        probe.kill()
    if not moved:
        return False
    show(cluster, "get", "vmi")
    return report(vm, blackout, before)


def explain_failure(cluster: Cluster):
    for name in ("server", "node1", "node2"):
        try:
            print(f"--- end of {name}'s log\n{chr(10).join(cluster.log(name).splitlines()[-15:])}", file=sys.stderr)
        except OSError:
            continue
    print(cluster.kubectl("get", "events", check=False).stdout[-2000:], file=sys.stderr)


def how_to_go_on(cluster: Cluster):
    say("The cluster stays. To use it:")
    print(f"  export KUBECONFIG={cluster.kubeconfig} PATH={KUBECTL.parent}:{GODWIT.parent}:$PATH\n"
          "  kubectl get vm,vmi,vmim,nodes\n"
          "  sed s/migration1/migration2/ examples/migration.yaml | kubectl create -f -\n"
          f"  ip netns exec {cluster.netns('node1')} bash     # a shell in a node's network\n"
          f"To end it:\n  {GODWIT.relative_to(TOP)} cluster down --dir {cluster.dir} --purge")


def interrupted(number, frame):
    raise Interrupted(signal.Signals(number).name)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="leave the cluster up and say how to use it")
    keep = parser.parse_args().keep
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    os.chdir(TOP)
    begin, good = time.monotonic(), False
    cluster = Cluster(pathlib.Path(tempfile.mkdtemp(prefix="godwit-demo-")), link_rate=LINK_RATE)
    try:
        good = run_demo(cluster)
        if not good:
            explain_failure(cluster)
    except Interrupted as err:
        print(f"\n{err}: cleaning up", file=sys.stderr)
        keep = False
    except (CommandError, GuestError, TimeoutError, OSError, KeyError) as err:
        print(f"\ndemo: {type(err).__name__}: {err}", file=sys.stderr)
        explain_failure(cluster)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if keep and cluster.kubeconfig.exists():
            how_to_go_on(cluster)
        else:
            print(cluster.down(purge=True).stdout, end="")
            shutil.rmtree(cluster.dir, ignore_errors=True)
    print(f"{time.monotonic() - begin:.0f} s in all")
    return 0 if good else 1


sys.exit(main())
