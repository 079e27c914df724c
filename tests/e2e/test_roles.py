"""Who may do what, from the outside: kubeconfigs of people, service accounts, and the commands by which administrators say
who may migrate."""
import base64
import contextlib
import http.client
import json
import os
import ssl
import time

import pytest
from cluster import GODWIT, KUBECTL, TOP, run, vm_manifest, wait_for

TEMPORARY_ROLE = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: kubevirt.io:upgrademigrate
  labels:
    rbac.authorization.k8s.io/aggregate-to-admin: "true"
rules:
- apiGroups: [subresources.kubevirt.io]
  resources: [virtualmachines/migrate]
  verbs: [update]
- apiGroups: [kubevirt.io]
  resources: [virtualmachineinstancemigrations]
  verbs: [get, delete, create, update, patch, list, watch, deletecollection]
"""
AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-admin"


class Person:
    """A user with a kubeconfig of his own, or the bearer of a token."""

    def __init__(self, cluster, folder, name, *groups, token=None):
        self.cluster, self.file, self.home = cluster, folder / f"{name}.kubeconfig", folder
        options = [f"--group={group}" for group in groups]
        self.file.write_text(run(GODWIT, "kubeconfig", "--user", name, *options,
                                 env=dict(os.environ, KUBECONFIG=str(cluster.kubeconfig))).stdout)
        if token:
            config = json.loads(self.file.read_text())
            config["users"][0]["user"] = {"token": token}
            self.file.write_text(json.dumps(config))

    @contextlib.contextmanager
    def connection(self):
        """A function that posts JSON over one connection and returns the answer's object."""
        config = json.loads(self.file.read_text())
        user, server = config["users"][0]["user"], config["clusters"][0]["cluster"]
        pem = self.home / "pair.pem"
        pem.write_bytes(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        context = ssl.create_default_context(cadata=base64.b64decode(server["certificate-authority-data"]).decode())
        context.load_cert_chain(pem)
        connection = http.client.HTTPSConnection(server["server"].removeprefix("https://"), context=context, timeout=20)

        def post(path, body):
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            return json.loads(connection.getresponse().read())

        yield post
        connection.close()

    def kubectl(self, *args, text=None):
        env = dict(os.environ, KUBECONFIG=str(self.file), HOME=str(self.home))
        return run(KUBECTL, *args, check=False, text=text, env=env)

    def virtctl(self, *args):
        return run(GODWIT, "virtctl", *args, "--kubeconfig", self.file, check=False)

    def may(self, verb, resource, ns, *options) -> bool:
        done = self.kubectl("auth", "can-i", verb, resource, "-n", ns, *options)
        assert done.stdout.strip() in ("yes", "no") and done.returncode == (done.stdout.strip() == "no"), done.stdout + done.stderr
        return done.returncode == 0

    def may_migrate(self, ns) -> bool:
        """By trying: a migration of a VMI that is not there gets past the roles, and no further."""
        text = json.dumps({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration",
                           "metadata": {"name": "absent"}, "spec": {"vmiName": "absent"}})
        done = self.kubectl("create", "-n", ns, "-f", "-", text=text)
        assert done.returncode, done.stdout
        refused = "cannot create resource \"virtualmachineinstancemigrations\"" in done.stderr
        assert refused or "absent" in done.stderr, done.stderr
        return not refused


@pytest.fixture
def person(cluster, tmp_path):
    return lambda name, *groups, **options: Person(cluster, tmp_path, name, *groups, **options)


@pytest.fixture
def cleanup(cluster):
    """kubectl commands that run at the end, whatever happened."""
    commands = []
    yield lambda *args: commands.append(args)
    for args in commands:
        cluster.kubectl(*args, check=False)


def test_strangers_see_nothing_but_themselves(cluster, ns, person):
    alice = person("alice", "dev", "ops")
    done = alice.kubectl("get", "vm", "-n", ns)
    assert done.returncode and (f'virtualmachines.kubevirt.io is forbidden: User "alice" cannot list resource "virtualmachines" '
                                f'in API group "kubevirt.io" in the namespace "{ns}"') in done.stderr
    who = alice.kubectl("auth", "whoami", "-o", "json")
    assert json.loads(who.stdout)["status"]["userInfo"] == {"username": "alice", "groups": ["dev", "ops", "system:authenticated"]}
    assert "selfsubjectaccessreviews" in alice.kubectl("auth", "can-i", "--list", "-n", ns).stdout
    assert "kubevirt.io/v1" in alice.kubectl("api-versions").stdout
    assert alice.kubectl("get", "kubevirts", "-A").returncode == 0  # role kubevirt.io:default
    assert not alice.may("get", "vm", ns) and not alice.may("*", "*", ns)


VERBS = {"g": "get", "l": "list", "w": "watch", "c": "create", "u": "update", "p": "patch", "d": "delete",
         "D": "deletecollection"}
RIGHTS = [line.split() for line in (TOP / "tests/unit/data/kubevirt-rights.txt").read_text().splitlines()
          if not line.startswith("#")]


@pytest.mark.parametrize("column, role", enumerate(("admin", "edit", "view", "kubevirt.io:migrate", None)))
def test_every_right_of_a_role(cluster, module_ns, person, column, role):
    """Each verb of each row of the table, allowed or refused, asked over TLS with the certificate of a user."""
    user, ns = f"user{column}", module_ns
    if role:
        cluster.kubectl("create", "rolebinding", user, f"--clusterrole={role}", f"--user={user}", "-n", ns)
    wrong = []
    with person(user).connection() as ask:
        for group, resource, *letters in RIGHTS:
            for letter, verb in VERBS.items():
                name, _, sub = resource.partition("/")
                spec = {"resourceAttributes": {"namespace": ns, "verb": verb, "group": "" if group == "core" else group,
                                               "resource": name, "subresource": sub}}
                answer = ask("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"spec": spec})
                if answer["status"]["allowed"] != (letter in letters[column]):
                    wrong.append((verb, resource))
    assert wrong == []


def test_a_migrator_migrates_and_a_namespace_admin_does_not(cluster, ns, vm, person):
    cluster.kubectl("create", "rolebinding", "boss", "--clusterrole=admin", "--user=ann", "-n", ns)
    cluster.kubectl("create", "-n", ns, "rolebinding", "kvmigrate", "--clusterrole=kubevirt.io:migrate", "--user=maria",
                    "--user=mario", "--group=movers")
    ann, maria = person("ann"), person("maria")
    assert ann.kubectl("create", "-n", ns, "-f", "-", text=json.dumps(vm_manifest("hers", run_strategy="Halted"))).returncode == 0
    machine = vm("vm1", wait=False)
    machine.wait_running()
    node = machine.node
    move = json.dumps({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration",
                       "metadata": {"name": "move"}, "spec": {"vmiName": "vm1"}})
    refused = ann.kubectl("create", "-n", ns, "-f", "-", text=move)
    assert refused.returncode and 'User "ann" cannot create resource "virtualmachineinstancemigrations"' in refused.stderr
    refused = ann.virtctl("migrate", "vm1", "-n", ns)
    assert refused.returncode and 'cannot update resource "virtualmachines/migrate"' in refused.stderr
    assert "forbidden" not in ann.virtctl("pause", "vm", "hers", "-n", ns).stderr  # hers to try: it only does not run
    assert maria.kubectl("create", "-n", ns, "-f", "-", text=move).returncode == 0
    done = ann.kubectl("wait", "vmim", "move", "-n", ns, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    assert done.returncode == 0, done.stderr
    assert machine.node != node
    assert maria.virtctl("migrate", "vm1", "-n", ns).returncode == 0
    assert maria.virtctl("stop", "vm1", "-n", ns).returncode  # she may move it, and no more
    assert maria.kubectl("delete", "vm", "vm1", "-n", ns).returncode
    assert person("x", "movers").may_migrate(ns) and not person("y", "shakers").may_migrate(ns)
    assert not maria.may_migrate("default")


def test_administrators_say_who_may_migrate(cluster, ns, person, cleanup):
    cluster.kubectl("create", "rolebinding", "boss", "--clusterrole=admin", "--user=ann", "-n", ns)
    ann, zoe = person("ann"), person("zoe", "everywhere")
    assert not ann.may_migrate(ns)

    cleanup("label", "clusterrole", "kubevirt.io:migrate", f"{AGGREGATE}-")
    cluster.kubectl("label", "--overwrite", "clusterrole", "kubevirt.io:migrate", f"{AGGREGATE}=true")
    start = time.monotonic()
    wait_for("the label counts", lambda: ann.may_migrate(ns), 5, interval=0.05)
    assert time.monotonic() - start < 2  # a call of kubectl takes a part of it
    cluster.kubectl("label", "clusterrole", "kubevirt.io:migrate", f"{AGGREGATE}-")
    wait_for("it is taken off", lambda: not ann.may_migrate(ns), 5)

    cleanup("delete", "clusterrole", "kubevirt.io:upgrademigrate", "--ignore-not-found")
    cluster.kubectl("apply", "-f", "-", text=TEMPORARY_ROLE)
    wait_for("the temporary role counts", lambda: ann.may_migrate(ns), 5)
    cluster.kubectl("delete", "clusterrole", "kubevirt.io:upgrademigrate")
    wait_for("it does not any more", lambda: not ann.may_migrate(ns), 5)

    cleanup("delete", "clusterrolebinding", "kvmigrate", "--ignore-not-found")
    assert not zoe.may_migrate(ns)
    cluster.kubectl("create", "clusterrolebinding", "kvmigrate", "--clusterrole=kubevirt.io:migrate", "--user=someone",
                    "--group=everywhere")
    assert zoe.may_migrate(ns) and zoe.may_migrate("default")  # at once: no wait here
    cluster.kubectl("delete", "clusterrolebinding", "kvmigrate")
    assert not zoe.may_migrate(ns)


def test_nobody_grants_what_he_lacks(cluster, ns, person):
    cluster.kubectl("create", "rolebinding", "boss", "--clusterrole=admin", "--user=ann", "-n", ns)
    ann = person("ann")
    assert ann.kubectl("create", "rolebinding", "v", "--clusterrole=view", "--user=vic", "-n", ns).returncode == 0
    for role in ("kubevirt.io:migrate", "cluster-admin"):
        done = ann.kubectl("create", "rolebinding", "more", f"--clusterrole={role}", "--user=ann", "-n", ns)
        assert done.returncode and "attempting to grant RBAC permissions not currently held" in done.stderr
    done = ann.kubectl("create", "role", "more", "--verb=create", "--resource=virtualmachineinstancemigrations", "-n", ns)
    assert done.returncode and "not currently held" in done.stderr
    vic = person("vic")
    assert vic.may("get", "vm", ns) and not vic.may("update", "vm", ns) and not vic.may("get", "secrets", ns)
    table = cluster.kubectl("get", "rolebinding", "-n", ns, "-o", "wide").stdout
    assert table.split()[:3] == ["NAME", "ROLE", "AGE"] and "ClusterRole/view" in table
    changed = cluster.kubectl("patch", "rolebinding", "v", "-n", ns, "-p", '{"roleRef":{"name":"admin"}}', check=False)
    assert "cannot change roleRef" in changed.stderr


def test_rights_go_with_their_namespace(cluster, person, cleanup):
    vic = person("vic")
    cleanup("delete", "namespace", "passing", "--ignore-not-found")
    cluster.kubectl("create", "namespace", "passing")
    cluster.kubectl("create", "role", "reader", "--verb=list", "--resource=vm", "-n", "passing")
    cluster.kubectl("create", "rolebinding", "v", "--role=reader", "--user=vic", "-n", "passing")
    assert vic.kubectl("get", "vm", "-n", "passing").returncode == 0
    cluster.kubectl("delete", "namespace", "passing", "--timeout=30s")
    cluster.kubectl("create", "namespace", "passing")
    assert vic.kubectl("get", "vm", "-n", "passing").returncode
    assert not cluster.get("roles", ns="passing")["items"]


def test_old_kubectl_asks_for_rights(cluster, ns, person):
    cluster.kubectl("create", "rolebinding", "v", "--clusterrole=view", "--user=vic", "-n", ns)
    vic = person("vic")
    for verb, answer in (("get", "yes"), ("create", "no")):
        done = run(KUBECTL.with_name("kubectl-1.20"), "auth", "can-i", verb, "virtualmachines.kubevirt.io", "-n", ns,
                   check=False, env=dict(os.environ, KUBECONFIG=str(vic.file), HOME=str(vic.home)))
        assert done.stdout.strip() == answer, done.stderr


def test_service_accounts(cluster, ns, person):
    wait_for("the default account", lambda: cluster.get("sa", "default", ns, check=False), 10)
    cluster.kubectl("create", "serviceaccount", "robot", "-n", ns)
    cluster.kubectl("create", "rolebinding", "r", "--clusterrole=kubevirt.io:migrate", f"--serviceaccount={ns}:robot", "-n", ns)
    token = cluster.kubectl("create", "token", "robot", "-n", ns, "--duration=10m").stdout.strip()
    robot = person("robot", token=token)
    assert robot.may_migrate(ns) and not robot.may_migrate("default")
    assert f"system:serviceaccount:{ns}:robot" in robot.kubectl("auth", "whoami").stdout
    cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "annotations": {
        "kubernetes.io/service-account.name": "robot"}}, "type": "kubernetes.io/service-account-token"}, ns)
    filled = wait_for("the Secret is filled", lambda: cluster.get("secret", "s", ns).get("data"), 5)
    assert person("lasting", token=base64.b64decode(filled["token"]).decode()).may_migrate(ns)
    bound = cluster.kubectl("create", "token", "robot", "-n", ns, "--bound-object-kind=Secret", "--bound-object-name=s").stdout
    assert person("bound", token=bound.strip()).may_migrate(ns)
    cluster.kubectl("delete", "secret", "s", "-n", ns)
    assert person("bound", token=bound.strip()).kubectl("get", "vmim", "-n", ns).returncode
    cluster.kubectl("delete", "serviceaccount", "robot", "-n", ns)
    assert "Unauthorized" in robot.kubectl("get", "vmim", "-n", ns).stderr or "logged in" in robot.kubectl(
        "get", "vmim", "-n", ns).stderr


def test_impersonation(cluster, ns, person):
    cluster.kubectl("create", "rolebinding", "v", "--clusterrole=view", "--group=watchers", "-n", ns)
    as_vic = ("--as=vic", "--as-group=watchers")
    assert cluster.kubectl("auth", "can-i", "get", "vm", "-n", ns, *as_vic).stdout.strip() == "yes"
    assert cluster.kubectl("auth", "can-i", "create", "vm", "-n", ns, *as_vic, check=False).stdout.strip() == "no"
    done = person("alice").kubectl("get", "--raw", f"/apis/kubevirt.io/v1/namespaces/{ns}/virtualmachines", *as_vic)
    assert done.returncode and 'User "alice" cannot impersonate resource "users"' in done.stderr
