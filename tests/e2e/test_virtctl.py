"""godwit as virtctl: what it prints, and what becomes of the VM."""
import os
import pathlib
import re

import pytest
import yaml
from cluster import GODWIT, CommandError, Vm, run, vm_manifest, wait_for


@pytest.fixture
def virtctl(cluster, ns, tmp_path):
    (tmp_path / "virtctl").symlink_to(GODWIT)

    def call(*args, check=True, **environ):
        env = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), **environ}
        return run(tmp_path / "virtctl", "-n", ns, *args, check=check, env=env)

    return call


def status(cluster, ns):
    return cluster.get("vm", "vm1", ns)["status"].get("printableStatus")


def test_the_life_of_a_vm(cluster, ns, virtctl):
    cluster.create(vm_manifest("vm1", run_strategy="Manual", terminationGracePeriodSeconds=60), ns)
    assert virtctl("start", "vm1", "--dry-run").stdout == "Dry Run execution\nVM vm1 was scheduled to start\n"
    assert virtctl("start", "vm1", "--paused").stdout == "VM vm1 was scheduled to start\n"
    wait_for("it is there", lambda: status(cluster, ns) == "Paused", 60)
    home = cluster.get("vmi", "vm1", ns)["status"]["nodeName"]
    other = next(n for n in cluster.nodes if n != home)
    done = virtctl("migrate", "vm1", f"--addedNodeSelector=kubernetes.io/hostname={other}")
    assert done.stdout == "VM vm1 was scheduled to migrate\n"
    wait_for("it moved", lambda: cluster.get("vmi", "vm1", ns)["status"]["nodeName"] == other, 60)
    migration = cluster.get("vmim", ns=ns)["items"][0]
    assert migration["metadata"]["name"].startswith("kubevirt-migrate-vm-")
    wait_for("it is over", lambda: cluster.get("vmim", ns=ns)["items"][0]["status"]["phase"] == "Succeeded", 30)
    assert status(cluster, ns) == "Paused"  # it has not run yet, on either node
    assert virtctl("unpause", "vm", "vm1").stdout == "VMI vm1 was scheduled to unpause\n"
    wait_for("it runs", lambda: status(cluster, ns) == "Running", 60)
    with pytest.raises(CommandError) as failed:
        virtctl("start", "vm1")
    assert (failed.value.code, failed.value.stderr) == (1, "Error starting VirtualMachine Operation cannot be fulfilled on "
                                                        'virtualmachine.kubevirt.io "vm1": VM is already running\n')
    assert virtctl("pause", "vm", "vm1").stdout == "VMI vm1 was scheduled to pause\n"
    wait_for("it stands still", lambda: status(cluster, ns) == "Paused", 10)
    assert virtctl("unpause", "vmi", "vm1").stdout == "VMI vm1 was scheduled to unpause\n"
    wait_for("it goes on", lambda: status(cluster, ns) == "Running", 10)
    done = virtctl("migrate-cancel", "vm1", check=False)
    assert (done.returncode, done.stderr) == (1, "Found no migration to cancel for vm1\n")
    assert virtctl("evacuate-cancel", "vm", "vm1").stdout == f"VM {ns}/vm1 was canceled evacuation\n"
    uid = cluster.get("vmi", "vm1", ns)["metadata"]["uid"]
    assert virtctl("restart", "vm1", "--force", "--grace-period=0").stdout == "VM vm1 was scheduled to restart\n"
    wait_for("another instance", lambda: cluster.get("vmi", "vm1", ns)["metadata"]["uid"] != uid, 30)
    wait_for("it runs again", lambda: status(cluster, ns) == "Running", 60)
    assert virtctl("stop", "vm1", "--force", "--grace-period=0").stdout == "VM vm1 was scheduled to stop\n"
    wait_for("it is stopped", lambda: status(cluster, ns) == "Stopped", 30)
    assert cluster.get("vm", "vm1", ns)["spec"]["runStrategy"] == "Manual"


def test_what_needs_no_vm(cluster, ns, virtctl):
    versions = virtctl("version").stdout.splitlines()
    assert versions[0].startswith('Client Version: version.Info{GitVersion:"v')
    assert versions[1].startswith('Server Version: version.Info{GitVersion:"v1.')
    cluster.create(vm_manifest("vm1", run_strategy="Halted"), ns)
    assert "runStrategy: Halted" in virtctl("expand", "--vm", "vm1").stdout
    done = virtctl("stop", "vm1", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ("error stopping VirtualMachine Operation cannot be fulfilled on virtualmachine.kubevirt.io "
                           '"vm1": VM is not running\n')
    done = virtctl("pause", "vm", "none", check=False)
    assert done.stderr == 'Error getting VirtualMachine none: virtualmachines.kubevirt.io "none" not found\n'


COMPLAINTS = [
    ("start", "accepts 1 arg(s), received 0"),
    ("start vm1 --force", "unknown flag: --force"),
    ("start vm1 -x", "unknown shorthand flag: 'x' in -x"),
    ("stop vm1 --grace-period", "flag needs an argument: --grace-period"),
    ("stop vm1 --force", "Must both use --force=true and set --grace-period."),
    ("addvolume vm1", 'required flag(s) "volume-name" not set'),
    ("version more", 'unknown command "more" for "virtctl version"'),
    ("expand --vm a --file b", "if any flags in the group [file vm] are set none of the others can be; [file vm] were all set"),
    ("dance", 'unknown command "dance" for "virtctl"'),
    ("strat", 'unknown command "strat" for "virtctl"\n\nDid you mean this?\n\tstart\n'),
    ("evacuate-cancel pod a", 'unsupported resource type "pod"'),
    ("port-forward vm1 22", "target must contain type and name separated by '/'"),
    ("port-forward pod/vm1 22", "unsupported resource type 'pod'"),
    ("port-forward vm/a --stdio 1 2", "only one port supported when forwarding to stdout"),
    ("ssh vm1", "target must contain type and name separated by '/'"),
    ("ssh @vm/vm1", "expected username before '@'"),
    ("ssh vm/a/b/c", "target is not valid with more than two '/'"),
    ("scp a b", 'none of the two provided locations seems to be a remote location: "a" to "b"'),
    ("scp vm/a:b vm/c:d", "copying from a remote location to another remote location is not supported: "
                          '"vm/a:b" to "vm/c:d"'),
    ("create vm more", 'unknown command "more" for "virtctl create vm"'),
    ("create vm --cloud-init-user-data a --user b", "if any flags in the group [cloud-init-user-data user] are set none of the "
                                                    "others can be; [cloud-init-user-data user] were all set"),
    ("create vm --run-strategy x", 'failed to parse "--run-strategy" flag: invalid run strategy "x", supported values are: '
                                   "Always, Manual, Halted, Once, RerunOnFailure"),
    ("create vm --memory x", 'failed to parse "--memory" flag: quantities must match the regular expression '
                             "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"),
    ("create vm --volume-containerdisk foo", 'failed to parse "--volume-containerdisk" flag: params need to have at least one '
                                             "colon: foo"),
    ("create vm --volume-containerdisk src:", 'failed to parse "--volume-containerdisk" flag: src must be specified'),
    ("create vm --volume-pvc src:q,name:n,foo:y", 'failed to parse "--volume-pvc" flag: unknown param(s): foo:y'),
    ("create vm --volume-pvc src:a/q", 'failed to parse "--volume-pvc" flag: not allowed to specify namespace of pvc "q"'),
    ("create vm --volume-pvc src:q --volume-pvc src:q", 'failed to parse "--volume-pvc" flag: there is already a volume with '
                                                        'name "q"'),
    ("create vm --volume-pvc src:q,bootorder:0", 'failed to parse "--volume-pvc" flag: bootorder must be greater than 0'),
    ("create vm --volume-containerdisk src:a,bootorder:1 --volume-pvc src:b,bootorder:1",
     'failed to parse "--volume-pvc" flag: bootorder 1 was specified multiple times'),
    ("create vm --volume-pvc src:cloudinitdisk --user u", 'there is already a volume with name "cloudinitdisk"'),
    ("create vm --instancetype=big", 'failed to parse "--instancetype" flag: Godwit has no instance types and no preferences, '
                                     "--memory says what the VM needs"),
    ("credentials set-password vm1 -u a -p b", "virtctl credentials set-password: Godwit puts no keys and no passwords into "
                                               "guests that run; cloud-init does at their first start"),
    ("expose vm vm1", 'required flag(s) "name" not set'),
    ("expose pod a --name=s", "unsupported resource type: pod"),
    ("expose vm a --name=s --type=x", "unknown service type: x"),
    ("expose vm a --name=s --port=1", 'error fetching VirtualMachine: virtualmachines.kubevirt.io "a" not found'),
    ("adm log-verbosity --all 3", 'unknown command "3" for "virtctl adm log-verbosity"'),
    ("adm log-verbosity --all --virt-api=3", "only show or set is allowed"),
    ("adm log-verbosity --virt-api=12", "virt-api: log verbosity must be 0-9"),
    ("create instancetype --cpu 2", "virtctl create instancetype: Godwit has no instance types and no preferences; a VM's spec "
                                    "says what it needs"),
    ("vmexport create a --vm=vm1", "virtctl vmexport: Godwit does not export disks; they are files, and can be copied at the "
                                   "node of a stopped VM"),
]


@pytest.mark.parametrize("line, text", COMPLAINTS, ids=[line for line, _ in COMPLAINTS])
def test_complaints_are_those_of_virtctl(virtctl, line, text):
    done = virtctl(*line.split(), check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", text + "\n")


def listed(text):
    """The verbs of a help text."""
    part = text.partition("Available Commands:\n")[2].partition("\n\n")[0]
    return [line.split()[0] for line in part.splitlines()]


GROUPS = {"adm", "completion", "create", "credentials", "help"}


def test_each_verb_has_help(virtctl):
    top = virtctl().stdout
    assert virtctl("help").stdout.endswith(top) and listed(top) == sorted(listed(top))
    paths = [[verb] for verb in listed(top)]
    for path in paths:
        done = virtctl(*path, "--help")
        paths += [path + [verb] for verb in listed(done.stdout)]
        assert f"Usage:\n  virtctl {' '.join(path)}" in done.stdout and "  -h, --help" in done.stdout
        assert virtctl("help", *path).stdout == done.stdout and done.stderr == ""
        assert "Examples:" in done.stdout or done.stdout.startswith("Refused") or path[0] in GROUPS
    assert {"ssh", "scp", "create", "port-forward", "usbredir"} <= set(listed(top)) and ["vnc", "screenshot"] in paths
    assert virtctl("help", "dance").stdout == "Unknown help topic [`dance`]\n" + top
    assert "  -n, --namespace string   " in virtctl("options").stdout


def test_completion_of_bash(virtctl, tmp_path):
    program = tmp_path / "virtctl"

    def complete(*words):
        quoted = " ".join(f"'{word}'" for word in (program, *words))
        return run("bash", "-c", f"source <({program} completion bash); COMP_WORDS=({quoted}); COMP_CWORD={len(words)}; "
                   'eval "$(complete -p virtctl | sed "s/.*-F \\([^ ]*\\) .*/\\1/")"; echo "${COMPREPLY[*]}"').stdout.strip()

    assert complete("st") == "start stop"
    assert complete("-n", "x", "create", "") == "clone instancetype preference vm"
    assert complete("stop", "vm1", "--gr") == "--grace-period"
    assert complete("dance", "x") == ""


# In place of ssh: notes how it was called, and speaks through the ProxyCommand as ssh would run it.
FAKE_SSH = """#!/usr/bin/python3
import pathlib, subprocess, sys
pathlib.Path(__file__).with_name("words").write_text("\\n".join(sys.argv))
proxy = next(word for word in sys.argv if word.startswith("ProxyCommand=")).split("=", 1)[1].replace("%%", "%")
with subprocess.Popen("exec " + proxy, shell=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as piped:
    piped.stdin.write(b"ping\\n")
    piped.stdin.flush()
    print(piped.stdout.readline().decode(), end="")
    piped.terminate()
sys.exit(3)
"""


def test_how_ssh_and_scp_are_called(cluster, ns, vm, virtctl, tmp_path):
    vm()
    (tmp_path / "bin").mkdir()
    for name in ("ssh", "scp"):
        (tmp_path / "bin" / name).write_text(FAKE_SSH)
        (tmp_path / "bin" / name).chmod(0o755)
    odd = tmp_path / "it's 100%n"  # a name that both the shell and ssh would read otherwise
    odd.symlink_to(cluster.kubeconfig)
    environ = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "USER": "jdoe", "KUBECONFIG": "/nowhere"}

    def call(*words):
        done = virtctl(*words, "--kubeconfig", odd, check=False, **environ)
        assert (done.returncode, done.stdout, done.stderr) == (1, "ok\n", "exit status 3\n")
        words = (tmp_path / "bin/words").read_text().splitlines()
        assert words[1] == "-o" and words[2].startswith("ProxyCommand=")
        return [pathlib.Path(words[0]).name, *words[3:]]

    assert call("ssh", "vm/vm1", "-p", "7000") == ["ssh", f"jdoe@vm.vm1.{ns}"]
    assert call("ssh", f"root@vmi/vm1/{ns}", "-l", "x", "-p7000", "-t", "-o A=b", "-t", "-v", "-i", "key", "--known-hosts=k",
                "-c", "ls /") == ["ssh", "-o A=b", "-v", "-oUserKnownHostsFile=k", "-i", "key", f"root@vmi.vm1.{ns}", "ls /"]
    assert call("scp", "-r", "--preserve", "--port=7000", "f", "vm/vm1:a:b") == ["scp", "-r", "-p", "f", f"jdoe@vm.vm1.{ns}:a:b"]
    assert call("scp", "-lx", "-p", "7000", "VMIs/vm1:", ".") == ["scp", f"x@vmi.vm1.{ns}:", "."]


def test_ssh_reaches_the_guest(vm, virtctl):
    """The guest has no ssh server, but a port that says it is one: both banners come through."""
    guest = vm().guest()
    server = r"printf 'SSH-2.0-guest\r\n'; read line; echo \$line >/tmp/client; timeout 2 cat >/dev/null"
    guest.ask(f"sh echo \"{server}\" >/tmp/server; nc -ll -p 2222 -e sh /tmp/server >/dev/null 2>&1 &")
    wait_for("the port is open", lambda: "2222" in guest.ask("sh netstat -ltn | grep 2222"), 30)
    done = virtctl("ssh", "root@vm/vm1", "-p", "2222", "-t", "-v", "-t", "-oBatchMode=yes", check=False)
    assert done.returncode == 1 and done.stderr.endswith("\nexit status 255\n")
    assert "remote software version guest" in done.stderr
    assert re.match(r"SSH-2.0-OpenSSH_\S+", guest.ask("sh cat /tmp/client"))


def test_a_manifest_of_each_option(virtctl, tmp_path):
    """The same that virtctl 1.8.4 makes of these, but for its empty objects and what it infers for instance types."""
    (tmp_path / "password").write_text(" it's: #1 \n")
    done = virtctl("create", "vm", "--name=x", "--run-strategy=halted", "--memory=0.5Gi", "--termination-grace-period=5",
                   "--volume-pvc=src:data,bootorder:2", "--volume-containerdisk=src:a/b:c",
                   "--volume-containerdisk=name:root,src:d,bootorder:1", "--user=jdoe", f"--password-file={tmp_path}/password",
                   "--ssh-key=k1,k2", "--ssh-key", "k3", "--cloud-init-network-data=YQ==")
    assert done.stderr.startswith("WARNING: --password-file")
    vm = yaml.safe_load(done.stdout)
    spec = vm["spec"]["template"]["spec"]
    *volumes, cloud_init = spec["volumes"]
    assert vm["apiVersion"] == "kubevirt.io/v1" and vm["kind"] == "VirtualMachine" and vm["metadata"]["name"] == "x"
    assert vm["spec"]["runStrategy"] == "Halted" and spec["terminationGracePeriodSeconds"] == 5
    assert spec["domain"] == {"memory": {"guest": "512Mi"}, "devices": {"disks": [{"name": "root", "bootOrder": 1},
                                                                                  {"name": "data", "bootOrder": 2}]}}
    assert volumes == [{"name": "x-containerdisk-0", "containerDisk": {"image": "a/b:c"}},
                       {"name": "root", "containerDisk": {"image": "d"}},
                       {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    assert cloud_init["name"] == "cloudinitdisk" and cloud_init["cloudInitNoCloud"]["networkDataBase64"] == "YQ=="
    head, config = cloud_init["cloudInitNoCloud"]["userData"].split("\n", 1)
    assert head == "#cloud-config"
    assert yaml.safe_load(config) == {"user": "jdoe", "password": "it's: #1", "chpasswd": {"expire": False},
                                      "ssh_authorized_keys": ["k1", "k2", "k3"]}


def test_a_created_vm_runs(cluster, ns, virtctl):
    cluster.create(virtctl("create", "vm", "--name=made", "--memory=128Mi", "--termination-grace-period=1", "--user=jdoe",
                           "--volume-containerdisk=src:testguest").stdout, ns)
    machine = Vm(cluster, "made", ns)
    machine.wait_guest()
    assert machine.vmi["spec"]["volumes"][1]["cloudInitNoCloud"] == {"userData": "#cloud-config\nuser: jdoe\n"}


def test_what_the_server_refuses(cluster, ns, virtctl):
    cluster.create(vm_manifest("vm1", run_strategy="Halted", ports=[("TCP", 80)]), ns)
    for line in ("expose vm vm1 --name=web", "expose vm vm1 --name=web --port=8080 --target-port=80 --ip-family=IPv4"):
        done = virtctl(*line.split(), check=False)
        assert done.returncode == 1 and re.match(r'service creation failed: services "web" is forbidden: .*port-forward', done.stderr)
    assert virtctl("adm", "log-verbosity", "--virt-api", "--virt-handler").stdout == "virt-api=2\nvirt-handler=2\n"
    assert len(virtctl("adm", "log-verbosity", "--all").stdout.splitlines()) == 5
    assert virtctl("adm", "log-verbosity", "--reset").stdout == ""
    done = virtctl("adm", "log-verbosity", "--virt-api=3", check=False)
    assert done.returncode == 1 and "logVerbosity" in done.stderr and "logs have one level" in done.stderr
    done = virtctl("adm", "log-verbosity", check=False)
    assert done.returncode == 1 and done.stderr == "no flag specified - expecting at least one flag\n" and "Usage:" in done.stdout
