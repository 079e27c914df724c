"""`godwit cluster` itself: side by side, repaired, idempotent, and gone without a trace."""
import base64
import subprocess

import leaks
import pytest
import secrets_left
from cluster import GODWIT, CommandError, run, wait_for


def test_two_clusters_live_side_by_side(cluster, make_cluster):
    other = make_cluster(nodes=1, encrypt=True)
    other.up()
    assert other.plan["id"] != cluster.plan["id"] and other.plan["subnet"] != cluster.plan["subnet"]
    other.kubectl("create", "namespace", "only-here")
    assert "only-here" not in cluster.kubectl("get", "namespaces").stdout
    assert len(cluster.get("nodes")["items"]) == 2 and len(other.get("nodes")["items"]) == 1
    other.kubectl("create", "secret", "generic", "s", "--from-literal=word=only-in-memory")
    cluster_id = other.plan["id"]
    other.down()
    data = b"".join(file.read_bytes() for file in (other.dir / "server").glob("store.db*"))
    assert b"only-here" in data and base64.b64encode(b"only-in-memory") not in data
    assert leaks.of_absent_cluster(cluster_id, other.dir) == set()
    assert cluster.status().returncode == 0


def test_secrets_are_looked_for(cluster, tmp_path):
    """The check at the end of the session finds what it looks for."""
    for folder in ("server", "logs"):
        (tmp_path / folder).mkdir()
    for name, mode in (("server/bootstrap-token", 0o600), ("server/copy", 0o640), ("logs/server.log", 0o600)):
        (tmp_path / name).write_text("abcdef.0123456789abcdef\n")
        (tmp_path / name).chmod(mode)
    assert sorted(secrets_left.found(tmp_path)) == ["logs/server.log tells a secret", "server/copy holds a secret, mode 0640"]
    assert secrets_left.found(cluster.dir) == []


def test_up_and_down_can_be_repeated(make_cluster):
    one = make_cluster(nodes=1)
    assert "there is none" in one.down().stdout
    assert one.status().returncode == 1
    one.up()
    before = one.pid("server"), one.pid("node1")
    one.up()
    assert (one.pid("server"), one.pid("node1")) == before
    assert "Ready" in one.status().stdout
    one.down()
    one.down()
    one.up()
    assert one.get("nodes")["items"][0]["metadata"]["name"] == "node1"


def test_up_repairs_what_was_killed(make_cluster):
    one = make_cluster(nodes=2)
    one.up()
    one.kubectl("create", "namespace", "kept")
    for victim in ("server", "node2"):
        one.kill(victim)
    wait_for("status says so", lambda: one.status().returncode != 0, 5)
    assert "does not run" in one.status().stdout
    subprocess.run(["ip", "netns", "exec", one.netns("node1"), "ip", "link", "del", "eth0"], check=True)
    one.up()
    assert one.status().returncode == 0
    assert "kept" in one.kubectl("get", "namespaces").stdout


def test_grows_but_does_not_shrink(make_cluster):
    one = make_cluster(nodes=1)
    one.up()
    one.n = 3
    one.up()
    assert sorted(n["metadata"]["name"] for n in one.get("nodes")["items"]) == ["node1", "node2", "node3"]
    one.n = 2
    with pytest.raises(CommandError, match="cannot shrink"):
        one.up()


def test_link_rate_is_kept_to(make_cluster):
    one = make_cluster(nodes=2, link_rate="80mbit")
    one.up()
    seconds, mib = 2, 1 << 20
    server = subprocess.Popen(one.inside("node2") + ["/usr/bin/python3", "-c", SINK, "7009"], stdout=subprocess.PIPE, text=True)
    try:
        server.stdout.readline()
        run(*one.inside("node1"), "/usr/bin/python3", "-c", SOURCE, one.node_address("node2"), "7009", str(seconds))
        rate = int(server.communicate(timeout=10)[0])
    finally:
        server.kill()
    assert 7 * mib < rate < 10.5 * mib  # 80 Mbit/s are 9.5 MiB/s


SINK = """
import socket, sys, time
s = socket.create_server(("0.0.0.0", int(sys.argv[1])))
print("ready", flush=True)
c, _ = s.accept()
n, begin = 0, time.monotonic()
while data := c.recv(65536):
    n += len(data)
print(int(n / (time.monotonic() - begin)))
"""
SOURCE = """
import socket, sys, time
c = socket.create_connection((sys.argv[1], int(sys.argv[2])))
end = time.monotonic() + float(sys.argv[3])
while time.monotonic() < end:
    c.sendall(bytes(65536))
"""


def test_says_what_is_wrong(tmp_path):
    for arguments, message in [(["--nodes", "0"], "--nodes 0: want 1 to 64"), (["--link-rate", "fast"], "such as 1gbit"),
                               (["--dir", "/proc/nowhere"], "/proc/nowhere"), (["stray"], 'unexpected argument "stray"')]:
        done = run(GODWIT, "cluster", "up", "--dir", tmp_path / "c", *arguments, check=False)
        assert done.returncode == 1 and message in done.stderr
    assert not (tmp_path / "c" / "cluster.json").exists()


@pytest.mark.parametrize("words", ["cluster", "cluster up", "watch", "agent", "image import", "server"])
def test_help_is_no_failure(words):
    asked = run(GODWIT, *words.split(), "--help")
    assert asked.stdout.startswith(f"usage: godwit {words.split()[0]}") and not asked.stderr
    assert run(GODWIT, words.split()[0], "--no-such-option", check=False).returncode == 2
