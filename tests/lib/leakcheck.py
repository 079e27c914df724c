#!/usr/bin/env python3
"""What a test leaves behind on the machine: processes, network namespaces, devices, addresses, routes, rules, nftables
tables, fixed neighbours, mounts, cgroups, listening sockets, files.

    with leakcheck.guard(match=prefix, dirs=[work]):        # raises Leaked, naming each thing
        ...
    leakcheck.py save FILE [--dir D]... ; leakcheck.py compare FILE [--dir D]... [--match REGEX]

`match` limits the findings to what bears the mark (a name prefix, a path) in its description, for machines where others
work too. A process is described by its command line, folder and environment, so that a variable set for the test marks
all of its descendants. Files under `dirs` always count."""
import argparse
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time


class Leaked(AssertionError):
    pass


def read(path):
    try:
        return pathlib.Path(path).read_bytes().decode(errors="replace")
    except OSError:
        return ""


def output(*words):
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


def rows(*words):
    try:
        return json.loads(output(*words) or "[]")
    except ValueError:
        return []


def own_tree():
    """This process and its ancestors."""
    pid, found = os.getpid(), set()
    while pid > 1:
        found.add(str(pid))
        pid = int(re.search(r"^PPid:\s+(\d+)", read(f"/proc/{pid}/status"), re.M).group(1))
    return found


def processes():
    mine = own_tree()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        stat, command = read(f"/proc/{pid}/stat"), read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
        if pid in mine or not command or not stat:
            continue
        with contextlib.suppress(OSError):
            marks = f"{os.readlink(f'/proc/{pid}/cwd')} {read(f'/proc/{pid}/environ')}".replace("\0", " ")
            yield f"{pid} (started {stat.rsplit(')', 1)[1].split()[19]}) {command}", marks


def mounts():
    for line in read("/proc/self/mountinfo").splitlines():
        before, after = line.split(" - ", 1)
        yield f"{before.split()[4]} ({after.split()[0]} {before.split()[3]})"


def namespaces():
    """Those that a process is in; those that are only mounted are found by mounts()."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            found.setdefault(os.readlink(f"/proc/{pid}/ns/net"), read(f"/proc/{pid}/cmdline").replace("\0", " ")[:200])
    for name, command in found.items():
        yield name, command


def network():
    for link in rows("ip", "-j", "link", "show"):
        yield f"device {link['ifname']}"
    for link in rows("ip", "-j", "addr", "show"):
        for address in link.get("addr_info", []):
            yield f"address {address.get('local')} on {link.get('ifname')}"
    for family in "-4", "-6":
        for route in output("ip", family, "-N", "route", "show", "table", "all").splitlines():
            if "cache" not in route:
                yield f"route {family} {re.sub(r' expires [0-9]+sec', '', route).strip()}"
        for rule in output("ip", family, "-N", "rule", "show").splitlines():
            yield f"rule {family} {rule.strip()}"
    for neighbour in output("ip", "neigh", "show", "nud", "permanent").splitlines():
        yield f"neighbour {neighbour.strip()}"
    for table in output("nft", "list", "tables").splitlines():
        yield f"nftables {table.strip()}"


def cgroups():
    for folder, names, _ in os.walk("/sys/fs/cgroup"):
        for name in names:
            yield f"{folder}/{name}"


def sockets():
    for line in read("/proc/net/unix").splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[3] == "00010000":  # __SO_ACCEPTCON
            yield f"unix {fields[7]}"
    for protocol in "tcp", "udp", "tcp6", "udp6":
        for line in read(f"/proc/net/{protocol}").splitlines()[1:]:
            fields = line.split()
            if fields[3] == ("0A" if "tcp" in protocol else "07"):
                address, port = fields[1].rsplit(":", 1)
                yield f"{protocol} {address}:{int(port, 16)}"


def files(dirs):
    for top in dirs:
        for folder, names, leaves in os.walk(top):
            for name in names + leaves:
                yield os.path.join(folder, name)


def snapshot(dirs=()):
    """Maps "kind item" to marks that also count for `match`."""
    found = {f"file {f}": "" for f in files(dirs)}
    found.update({f"process {p}": marks for p, marks in processes()})
    found.update({f"namespace {n}": marks for n, marks in namespaces()})
    for kind, items in ("mount", mounts()), ("network", network()), ("cgroup", cgroups()), ("socket", sockets()):
        found.update({f"{kind} {item}": "" for item in items})
    return found


def compare(before, after, match=None):
    """What is new in `after`, sorted."""
    new = [item for item in after if item not in before]
    if match:
        new = [item for item in new if item.startswith("file ") or re.search(match, f"{item} {after[item]}")]
    return sorted(new)


def settle(before, dirs=(), match=None, seconds=5):
    """compare() again and again while there is something: namespaces and processes end a little after their command."""
    end = time.monotonic() + seconds
    while (leaks := compare(before, snapshot(dirs), match)) and time.monotonic() < end:
        time.sleep(0.2)
    return leaks


@contextlib.contextmanager
def guard(dirs=(), match=None, seconds=5):
    before = snapshot(dirs)
    yield
    if leaks := settle(before, dirs, match, seconds):
        raise Leaked("left behind:\n  " + "\n  ".join(leaks))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["save", "compare"])
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--dir", action="append", default=[])
    parser.add_argument("--match")
    args = parser.parse_args()
    if args.verb == "save":
        args.file.write_text(json.dumps(snapshot(args.dir)))
        return 0
    leaks = settle(json.loads(args.file.read_text()), args.dir, args.match)
    print("\n".join(leaks))
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
