"""Helm, which keeps its releases in Secrets, reads the discovery and the schemas, and patches by comparing three states: a
chart with a VM, and one with a kind of its own. Each helm that setup could get (with npm: 3 and 4)."""
import json
import os
import subprocess

import pytest
from server import HELMS, Server

if not HELMS:
    pytest.skip("no helm without npm", allow_module_level=True)

VM = """
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata:
  name: {{ .Release.Name }}
  labels: {app: {{ .Chart.Name }}}
spec:
  runStrategy: Halted
  template:
    spec:
      domain:
        cpu: {cores: {{ .Values.cores }}}
        memory: {guest: 128Mi}
        devices: {disks: [{name: d, disk: {bus: virtio}}]}
      volumes: [{name: d, containerDisk: {image: testguest}}]
"""
SETTINGS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}}
data: {cores: {{ .Values.cores | quote }}, served: {{ .Capabilities.APIVersions.Has "kubevirt.io/v1/VirtualMachine" | quote }}}
"""
CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boats.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {kind: Boat, plural: boats, singular: boat}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object,
    properties: {masts: {type: integer}}}}}}}]
"""
BOAT = """
apiVersion: example.org/v1
kind: Boat
metadata: {name: {{ .Release.Name }}}
spec: {masts: {{ .Values.cores }}}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("helm"))
    server.start()
    yield server
    assert server.stop() == 0


class Helm:
    def __init__(self, server, version):
        self.server, self.binary, self.ns, self.home = server, HELMS[version], f"helm{version}", server.home / f"helm{version}"
        self.write("chart/Chart.yaml", "{apiVersion: v2, name: demo, version: 0.1.0}")
        self.write("chart/values.yaml", "cores: 1")
        for name, text in (("crds/boat.yaml", CRD), ("templates/vm.yaml", VM), ("templates/settings.yaml", SETTINGS), ("templates/boat.yaml", BOAT)):
            self.write(f"chart/{name}", text)

    def write(self, name, text):
        (self.home / name).parent.mkdir(parents=True, exist_ok=True)
        (self.home / name).write_text(text)

    def run(self, *args, ok=True) -> str:
        env = dict(os.environ, KUBECONFIG=str(self.server.dir / "admin.kubeconfig"), HOME=str(self.home))
        done = subprocess.run([self.binary, "-n", self.ns, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=60, env=env)
        assert (done.returncode == 0) == ok, done.stdout
        return done.stdout

    def cores(self):
        vm = json.loads(self.server.kubectl("-n", self.ns, "get", "vm", "r", "-o", "json"))
        return vm["spec"]["template"]["spec"]["domain"]["cpu"]["cores"], vm["spec"]["runStrategy"]


@pytest.mark.parametrize("version", HELMS)
def test_a_release_and_its_life(server, version):
    helm = Helm(server, version)
    chart = str(helm.home / "chart")
    assert "STATUS: deployed" in helm.run("install", "r", chart, "--create-namespace", "--wait=false", "--timeout=20s")
    assert helm.cores() == (1, "Halted")
    settings = json.loads(server.kubectl("-n", helm.ns, "get", "cm", "r", "-o", "json"))
    assert settings["data"] == {"cores": "1", "served": "true"}
    assert server.kubectl("-n", helm.ns, "get", "boat", "r", "-o", "jsonpath={.spec.masts}") == "1"
    server.kubectl("-n", helm.ns, "label", "vm", "r", "mine=kept")
    helm.run("upgrade", "r", chart, "--set", "cores=2")
    assert helm.cores() == (2, "Halted")
    assert server.kubectl("-n", helm.ns, "get", "vm", "-l", "mine=kept", "-o", "name") == "virtualmachine.kubevirt.io/r\n"
    assert [r["revision"] for r in json.loads(helm.run("history", "r", "-o", "json"))] == [1, 2]
    helm.run("rollback", "r", "1")
    assert helm.cores() == (1, "Halted")
    assert json.loads(helm.run("list", "-o", "json"))[0]["status"] == "deployed"
    assert "kind: VirtualMachine" in helm.run("get", "manifest", "r")
    assert "uninstalled" in helm.run("uninstall", "r", "--timeout=20s")
    assert server.kubectl("-n", helm.ns, "get", "vm,cm,boats,secrets", "-l", "app=demo", "--ignore-not-found") == ""


HOOKS = """
apiVersion: v1
kind: Secret
metadata: {name: hook, annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-delete-policy: "hook-succeeded"}}
---
apiVersion: v1
kind: Pod
metadata: {name: check, annotations: {helm.sh/hook: test}}
spec: {restartPolicy: Never, containers: [{name: c, image: busybox}]}
"""


@pytest.mark.parametrize("version", HELMS)
def test_a_failed_upgrade_is_taken_back(server, version):
    helm = Helm(server, version)
    helm.ns = f"back{version}"
    helm.write("chart/templates/hooks.yaml", HOOKS)
    helm.write("chart/templates/vm.yaml", "")  # helm 4 waits until its VM is ready, which one that is halted never is
    chart = str(helm.home / "chart")
    helm.run("install", "r", chart, "--create-namespace", "--wait=false", "--timeout=20s")
    atomic = "--atomic" if version.startswith("3") else "--rollback-on-failure"
    failed = helm.run("upgrade", "r", chart, "--set", "cores=many", atomic, "--timeout=20s", ok=False)
    assert "spec.masts" in failed
    assert server.kubectl("-n", helm.ns, "get", "boat", "r", "-o", "jsonpath={.spec.masts}") == "1"
    assert [r["status"] for r in json.loads(helm.run("history", "r", "-o", "json"))] == ["superseded", "failed", "deployed"]
    assert server.kubectl("-n", helm.ns, "get", "secret", "hook", "--ignore-not-found") == ""
    assert "Godwit runs virtual machines, not containers" in helm.run("test", "r", "--timeout=20s", ok=False)
    helm.run("uninstall", "r", "--timeout=20s")
