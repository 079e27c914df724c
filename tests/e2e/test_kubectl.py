"""One table of commands, run with each kubectl that is there ("1.27+": from that version on); and what is awkward:
restarts under a watch, applies that conflict, pages while others write, kinds that come while somebody watches."""
import concurrent.futures
import contextlib
import json
import os
import re
import subprocess

import pytest

from server import KUBECTLS, VM, Server, Watch

EDITOR = "#!/bin/sh\nsed -i 's/a: .*/a: edited/' \"$1\"\n"


def manifest(kind, name, version="v1", **rest) -> str:
    return json.dumps({"apiVersion": version, "kind": kind, "metadata": {"name": name}, **rest})


def config_map(name, **data) -> str:
    return manifest("ConfigMap", name, data=data)


def account(*secrets) -> str:
    return manifest("ServiceAccount", "sa", secrets=[{"name": name} for name in secrets])


UNKNOWN = VM.replace("runStrategy", "rumStrategy")
STDIN = "-f", "-"

# Each row: command, what it is given, exit code, what the output must contain (a regular expression).
# A command that begins with a version is for that one alone.
TABLE = [
    ("version", None, 0, r"Server Version.*1[.:]"),
    ("api-versions", None, 0, r"(?s)kubevirt.io/v1\n.*^v1$"),
    ("api-resources -o wide", None, 0, r"virtualmachineinstances +vmi,vmis +.*VirtualMachineInstance "),
    ("api-resources --api-group=kubevirt.io --namespaced=true -o name", None, 0, r"(?s)^virtualmachine.*migrations"),
    ("get nosuchkind", None, 1, r"doesn't have a resource type \"nosuchkind\""),
    ("get pvc", None, 0, r"No resources found in \S+ namespace"),
    # create
    ("create -f -", VM % "vm1", 0, r"virtualmachine.kubevirt.io/vm1 created"),
    ("create -f -", VM % "vm1", 1, r"AlreadyExists.*\"vm1\" already exists"),
    ("create -f -", UNKNOWN % "vm2", 1, r"unknown field \S*rumStrategy"),
    ("1.27+ create --validate=warn --dry-run=server -f -", (VM % "vm2").replace("spec:\n  run", "spec:\n  wings: 2\n  run", 1), 0,
     r"Warning: unknown field \"spec.wings\""),
    ("create --dry-run=server -f -", VM % "vm2", 0, r"vm2 created \(server dry run\)"),
    ("create -f -", manifest("Bird", "b", "example.com/v1"), 1, r"no matches for kind \"Bird\""),
    ("create cm c1 --from-literal=a=1", None, 0, r"configmap/c1 created"),
    ("create secret generic s1 --from-literal=a=1", None, 0, r"secret/s1 created"),
    ("create sa builder", None, 0, r"serviceaccount/builder created"),
    # apply, on the client's side
    ("apply -f -", config_map("ap", a="1", b="2"), 0, r"configmap/ap created"),
    ("apply -f -", config_map("ap", a="1", b="2"), 0, r"configmap/ap unchanged"),
    ("diff -f -", config_map("ap", a="2"), 1, r"(?s)-  a: \"1\".*\+  a: \"2\""),
    ("apply -f -", config_map("ap", a="2"), 0, r"configmap/ap configured"),
    ("get cm ap -o jsonpath={.data}", None, 0, r"^\{\"a\":\"2\"\}$"),
    ("diff -f -", config_map("ap", a="2"), 0, r"^$"),
    ("apply view-last-applied cm ap", None, 0, r"a: \"2\""),
    ("apply -f -", account("one", "two"), 0, r"serviceaccount/sa created"),
    ("patch sa sa -p {\"secrets\":[{\"name\":\"three\"}]}", None, 0, r"patched"),
    ("apply -f -", account("two"), 0, r"configured"),
    ("get sa sa -o jsonpath={.secrets[*].name}", None, 0, r"^(two three|three two)$"),
    ("apply -f -", VM % "vm3", 0, r"vm3 created"),
    ("apply -f -", (VM % "vm3").replace("Halted", "Manual"), 0, r"vm3 configured"),
    ("get vm vm3 -o jsonpath={.spec.runStrategy}", None, 0, r"^Manual$"),
    # apply, on the server's
    ("apply --server-side -f -", config_map("ss", a="1", b="2"), 0, r"configmap/ss serverside-applied"),
    ("apply --server-side --field-manager=other -f -", config_map("ss", a="9"), 1,
     r"Apply failed with 1 conflict: conflict with \"kubectl\"(?s:.*)\.data\.a"),
    ("apply --server-side --field-manager=other --force-conflicts -f -", config_map("ss", a="9"), 0, r"serverside-applied"),
    ("apply --server-side -f -", config_map("ss", b="2"), 0, r"serverside-applied"),
    ("get cm ss -o jsonpath={.data}", None, 0, r"^\{\"a\":\"9\",\"b\":\"2\"\}$"),
    ("1.27+ apply --server-side -f -", config_map("ap", a="3"), 0, r"serverside-applied"),
    ("1.27+ get cm ap -o yaml --show-managed-fields", None, 0, r"(?s)manager: kubectl\n +operation: Apply"),
    ("1.27+ get cm ap -o yaml", None, 0, r"^(?s:(?!managedFields).)*$"),
    ("1.27+ apply -f -", config_map("ap", a="4"), 0, r"configured"),
    ("1.27+ diff --server-side -f -", config_map("ss", b="3"), 1, r"\+  b: \"3\""),
    ("apply --server-side -f -", VM % "vm4", 0, r"vm4 serverside-applied"),
    # change
    ("replace -f -", config_map("c1", a="2"), 0, r"configmap/c1 replaced"),
    ("replace -f -", config_map("nothing", a="2"), 1, r"\"nothing\" not found"),
    ("replace -f -", VM % "vm1", 0, r"vm1 replaced"),
    ("edit cm c1", None, 0, r"configmap/c1 edited"),
    ("get cm c1 -o go-template={{.data.a}}", None, 0, r"^edited$"),
    ("patch vm vm1 --type=merge -p {\"spec\":{\"runStrategy\":\"Manual\"}}", None, 0, r"vm1 patched"),
    ("patch vm vm1 --type=merge -p {\"spec\":{\"runStrategy\":\"Manual\"}}", None, 0, r"vm1 patched \(no change\)"),
    ("patch vm vm1 --type=json -p [{\"op\":\"replace\",\"path\":\"/spec/runStrategy\",\"value\":\"Halted\"}]", None, 0, r"patched"),
    ("patch vm vm1 -p {\"spec\":{\"runStrategy\":\"Halted\"}}", None, 1, r"(?i)unsupported ?media ?type|unknown format"),
    ("patch cm c1 -p {\"data\":{\"b\":\"3\"}}", None, 0, r"patched"),
    ("patch vm vm1 --type=merge -p {\"spec\":{\"runStrategy\":\"Sometimes\"}}", None, 1, r"spec.runStrategy.*Sometimes"),
    ("label vm vm1 tier=web", None, 0, r"vm1 labeled"),
    ("label vm vm1 tier=db", None, 1, r"already has a value|--overwrite"),
    ("label vm vm1 tier=db --overwrite", None, 0, r"vm1 labeled"),
    ("annotate vm vm1 note=hello", None, 0, r"vm1 annotated?"),
    ("annotate vm vm1 note-", None, 0, r"vm1 annotated?"),
    ("scale vm vm1 --replicas=2", None, 1, r"(?i)not ?found|could not find|the server does not allow|cannot be scaled"),
    # look
    ("get vm", None, 0, r"NAME +AGE +STATUS +READY\nvm1 +\d+[sm]\S* +Stopped +False"),
    ("get vm -o wide --show-labels", None, 0, r"vm1 .*tier=db"),
    ("get vm,cm -o name", None, 0, r"(?s)virtualmachine.kubevirt.io/vm1\n.*configmap/c1"),
    ("get all", None, 0, r"virtualmachine.kubevirt.io/vm1"),
    ("get vm vm1 -o yaml", None, 0, r"(?m)^kind: VirtualMachine$"),
    ("get vm -o json", None, 0, r"\"kind\": \"List\""),
    ("get vm -o custom-columns=N:.metadata.name,S:.spec.runStrategy", None, 0, r"(?m)^vm1 +Halted$"),
    ("get vm -l app=demo,tier!=db -o name", None, 0, r"^virtualmachine.kubevirt.io/vm3\n.*vm4\n$"),
    ("get vm -l app=other", None, 0, r"No resources found"),
    ("get vm --field-selector=metadata.name=vm3 -o name", None, 0, r"^virtualmachine.kubevirt.io/vm3\n$"),
    ("get vm --field-selector=spec.nosuch=1", None, 1, r"(?i)field label not supported|BadRequest"),
    ("get vm --chunk-size=1 --sort-by=.metadata.name -o name", None, 0, r"vm1\n\S+vm3\n\S+vm4"),
    ("get vm -A --no-headers", None, 0, r"\S+ +vm1 "),
    ("get vm vm9", None, 1, r"virtualmachines.kubevirt.io \"vm9\" not found"),
    ("describe vm vm1", None, 0, r"(?s)Name: +vm1.*Run Strategy: +Halted.*Events:"),
    ("describe cm c1", None, 0, r"(?s)Data\n====.*edited"),
    ("get events", None, 0, r""),
    ("1.27+ events --for vm/vm1", None, 0, r"No events found"),
    ("get --raw /version", None, 0, r"\"major\": ?\"1\""),
    ("wait vm vm1 --for=condition=Nonsense --timeout=1s", None, 1, r"timed out"),
    ("1.27+ wait vm vm1 --for=jsonpath={.spec.runStrategy}=Halted --timeout=5s", None, 0, r"condition met"),
    ("1.31+ wait cm kube-root-ca.crt --for=create --timeout=20s", None, 0, r"condition met"),
    ("1.31+ get cm kube-root-ca.crt -o jsonpath={.data}", None, 0, r"^\{\"ca.crt\":\"-----BEGIN CERTIFICATE"),
    # of Kubernetes, but not here
    ("cluster-info", None, 0, r"control plane.* is running at .*https://"),
    ("cluster-info dump", None, 0, r"\"kind\": \"ServiceList\""),
    ("get svc,ep -n default", None, 0, r"(?s)service/kubernetes +ClusterIP +None +<none> +\d+/TCP.*endpoints/kubernetes +[0-9.]+:\d+"),
    ("1.27+ get endpointslices -n default", None, 0, r"kubernetes +IPv4 +\d+ +[0-9.]+"),
    ("describe svc kubernetes -n default", None, 0, r"Endpoints: +[0-9.]+:\d+"),
    ("delete ep kubernetes -n default", None, 0, r"deleted"),
    ("describe ns default", None, 0, r"No resource quota"),
    ("get deploy,rs,sts,ds,rc,job,cj,ing,netpol,quota,limits,pdb,pc", None, 0, r"No resources found"),
    ("create deployment d --image=i", None, 1, r"\"d\" is forbidden: Godwit runs virtual machines, not containers"),
    ("create -f -", manifest("Service", "s", spec={"ports": [{"port": 1}]}), 1, r"\"s\" is forbidden: .*virtctl port-forward"),
    ("1.27+ create quota q --hard=pods=1", None, 1, r"\"q\" is forbidden"),
    ("create priorityclass high --value=1000", None, 1, r"\"high\" is forbidden: Godwit stops no VM in favour of another"),
    ("label svc kubernetes -n default seen=yes --overwrite", None, 0, r"labeled|not labeled"),
    ("scale deployment d --replicas=2", None, 1, r"deployments.apps \"d\" not found|no objects passed to scale"),
    ("1.27+ apply --prune -l app=pruned -f -", VM.replace("demo", "pruned") % "vm5", 0, r"vm5 created"),
    ("1.27+ apply --prune -l app=pruned -f -", json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "stays", "labels": {"app": "pruned"}}}), 0, r"configmap/stays created"),
    ("1.27+ apply --prune -l app=pruned -f -", json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": {
        "name": "stays", "labels": {"app": "pruned"}}}), 0, r"configmap/stays pruned"),
    ("get ep kubernetes -n default", None, 0, r"kubernetes +[0-9.]+:\d+"),
    ("1.27+ delete vm vm5", None, 0, r"\"vm5\" deleted"),
    # delete
    ("delete cm c1 --dry-run=server", None, 0, r"c1\" deleted .*\(server dry run\)"),
    ("delete cm c1", None, 0, r"\"c1\" deleted"),
    ("delete cm c1", None, 1, r"not found"),
    ("delete cm c1 --ignore-not-found", None, 0, r"^$"),
    ("delete vm -l app=demo --timeout=20s", None, 0, r"(?s)\"vm1\" deleted.*\"vm4\" deleted"),
    ("1.27+ wait vm vm1 --for=delete --timeout=5s", None, 0, r""),
    ("delete cm --all", None, 0, r"\"ss\" deleted"),
]


def minor(version) -> int:
    return int(re.match(r"1\.(\d+)", version)[1])


class Client:
    """One kubectl with a home and a namespace of its own."""

    def __init__(self, server, version):
        self.server, self.version, self.binary = server, version, KUBECTLS[version]
        self.ns = "k" + version.replace(".", "-")
        self.home = server.home / self.ns
        self.home.mkdir()
        editor = self.home / "editor"
        editor.write_text(EDITOR)
        editor.chmod(0o755)
        self.env = dict(os.environ, KUBECONFIG=str(server.dir / "admin.kubeconfig"), HOME=str(self.home), KUBE_EDITOR=str(editor))

    def run(self, *args, text=None) -> subprocess.CompletedProcess:
        return subprocess.run([self.binary, "-n", self.ns, *args], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=60, env=self.env)

    def check(self, command, text, code, pattern) -> str | None:
        """What is wrong, if anything is."""
        words = command.split()
        if words[0].endswith("+") and minor(self.version) < minor(words.pop(0)):
            return None
        done = self.run(*words, text=text)
        if done.returncode == code and re.search(pattern, done.stdout, re.M):
            return None
        return f"kubectl {self.version} {' '.join(words)}: exit code {done.returncode}, not {code} with {pattern!r}\n{done.stdout}"

    def run_table(self) -> list[str]:
        self.run("create", "namespace", self.ns)
        return [fault for row in TABLE if (fault := self.check(*row))]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("kubectl"))
    server.start()
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def clients(server):
    return {version: Client(server, version) for version in KUBECTLS}


def test_the_table_with_each(clients):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        faults = [fault for found in pool.map(Client.run_table, clients.values()) for fault in found]
    assert not faults, "\n".join(faults)


def test_every_kind_is_explained(server, clients):
    kinds = server.kubectl("api-resources", "--verbs=list", "-o", "name").split()
    groups = {"metrics.k8s.io": "metrics.k8s.io/v1beta1"}  # whose names are also those of other kinds
    assert len(kinds) > 15

    def explain(client, kind):
        group = kind.partition(".")[2]
        done = client.run("explain", kind.split(".")[0], *(["--api-version", groups[group]] if group in groups else []))
        if "couldn't find resource for \"metrics.k8s.io" in done.stdout and client.version == "1.20":
            return None  # it takes the first kind of a name, whichever version is asked for
        good = done.returncode == 0 and "KIND:" in done.stdout and re.search(r"(?s)FIELDS:.*\n +metadata\s", done.stdout)
        return None if good else f"{client.version} explain {kind}: {done.stdout}"

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        faults = list(filter(None, pool.map(lambda pair: explain(*pair), [(c, k) for c in clients.values() for k in kinds])))
    assert not faults, "\n".join(faults)
    for client in clients.values():
        assert "runStrategy" in client.run("explain", "vm.spec").stdout
        assert re.search(r"(?s)guest\s", client.run("explain", "vmi.spec.domain.memory").stdout)


def test_pages_are_of_one_moment(server):
    path = "/api/v1/namespaces/default/configmaps"
    for name in "abcd":
        server.kubectl("create", "--raw", path, "-f", "-", text=config_map(f"page-{name}"))
    admin = server.credentials()
    code, body = server.curl(f"{path}?limit=2", *admin)
    first = json.loads(body)
    assert code == 200 and first["metadata"]["remainingItemCount"] >= 2
    server.kubectl("delete", "cm", "page-d")
    server.kubectl("create", "--raw", path, "-f", "-", text=config_map("page-cc"))
    code, body = server.curl(f"{path}?limit=500&continue={first['metadata']['continue']}", *admin)
    rest = json.loads(body)
    names = [o["metadata"]["name"] for o in first["items"] + rest["items"]]
    assert code == 200 and "page-d" in names and "page-cc" not in names
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


class Watching:
    """A kubectl that watches; ready when its watch has begun."""

    def __init__(self, client, *args):
        self.child = subprocess.Popen([client.binary, *args, "-v=6"], env=client.env, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True)
        self.said = ""
        while "watch=true" not in self.said:
            line = self.child.stderr.readline()
            assert line, self.said
            self.said += line

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.communicate()


def test_watches_show_what_comes(server, clients):
    def labelled(name, shown):
        return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"shown": shown}}})

    with contextlib.ExitStack() as stack:
        watches = [stack.enter_context(Watching(client, "get", "cm", "-w", "--no-headers", "-l", "shown=yes"))
                   for client in clients.values()]
        server.kubectl("create", "-f", "-", text=labelled("hidden", "no"))
        server.kubectl("create", "-f", "-", text=labelled("seen", "yes"))
        for watch in watches:
            assert watch.child.stdout.readline().split()[:2] == ["seen", "0"]


CRD = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "ships.example.org"},
       "spec": {"group": "example.org", "scope": "Namespaced",
                "names": {"plural": "ships", "singular": "ship", "kind": "Ship", "listKind": "ShipList"},
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {"spec": {"type": "object", "properties": {"crew": {
                        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                        "items": {"type": "object", "required": ["name"], "properties": {
                            "name": {"type": "string"}, "rank": {"type": "string"}}}}}}}}}}]}}


def test_kinds_come_while_others_watch(server, clients):
    watch = Watch(server, "/api/v1/namespaces/default/configmaps?watch=true&resourceVersion=0")
    server.kubectl("create", "-f", "-", text=json.dumps(CRD))
    server.kubectl("wait", "crd", "ships.example.org", "--for=condition=Established", "--timeout=10s")
    ships = Watch(server, "/apis/example.org/v1/ships?watch=true")
    for client in clients.values():
        client.run("create", "namespace", client.ns)

        def ship(*crew, manager):
            text = manifest("Ship", "argo", "example.org/v1", spec={"crew": [{"name": name} for name in crew]})
            return client.run("apply", "--server-side", f"--field-manager={manager}", "-f", "-", text=text)

        assert ship("jason", manager="one").returncode == 0
        done = ship("orpheus", manager="two")  # another item of the same list: no conflict
        assert done.returncode == 0, done.stdout
        assert ship("atalanta", manager="one").returncode == 0
        crew = client.run("get", "ship", "argo", "-o", "jsonpath={.spec.crew[*].name}").stdout
        assert crew == "orpheus atalanta"
        assert ships.next()["object"]["metadata"]["namespace"] == client.ns
        assert [ships.next()["type"] for _ in range(2)] == ["MODIFIED"] * 2
    server.kubectl("create", "cm", "after-the-crd")
    while watch.next()["object"]["metadata"]["name"] != "after-the-crd":
        pass
    server.kubectl("delete", "crd", "ships.example.org", "--timeout=20s")


def test_waits_live_through_a_restart(server, clients):
    server.kubectl("create", "cm", "goes")
    with Watching(clients["1.32"], "wait", "cm", "goes", "--for=delete", "--timeout=30s") as wait:
        assert server.stop() == 0
        server.start()
        server.kubectl("delete", "cm", "goes")
        said = wait.child.communicate(timeout=40)[1]
        assert wait.child.returncode == 0, said
