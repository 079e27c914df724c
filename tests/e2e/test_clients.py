"""Client libraries that nobody here has written: Debian's python3-kubernetes, typed and dynamic. That of Node.js is tried by
hand (tests/manual/node-client.mjs), because Debian's npm takes longer to install than the tests to run."""
import pytest
from kubernetes import client, config, dynamic, watch
from kubernetes.client.rest import ApiException
from server import Server

NS = "py"
VM = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "vm1", "labels": {"app": "demo"}}, "spec": {
    "runStrategy": "Halted", "template": {"spec": {
        "domain": {"devices": {"disks": [{"name": "d", "disk": {"bus": "virtio"}}]}, "memory": {"guest": "128Mi"}},
        "volumes": [{"name": "d", "containerDisk": {"image": "testguest"}}]}}}}


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("python"))
    server.start()
    one = config.new_client_from_config(str(server.dir / "admin.kubeconfig"))
    client.CoreV1Api(one).create_namespace({"metadata": {"name": NS}})
    yield one
    assert server.stop() == 0


def config_map(name, **data):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name), data=data)


def test_typed_objects(api):
    core = client.CoreV1Api(api)
    core.create_namespaced_config_map(NS, config_map("c", a="1"))
    assert core.patch_namespaced_config_map("c", NS, {"data": {"b": "2"}}).data == {"a": "1", "b": "2"}  # strategic merge
    assert core.patch_namespaced_config_map("c", NS, [{"op": "remove", "path": "/data/a"}]).data == {"b": "2"}
    one = core.read_namespaced_config_map("c", NS)
    stale = one.metadata.resource_version
    one.data["c"] = "3"
    assert core.replace_namespaced_config_map("c", NS, one).data["c"] == "3"
    one.metadata.resource_version = stale
    with pytest.raises(ApiException) as refused:
        core.replace_namespaced_config_map("c", NS, one)
    assert (refused.value.status, refused.value.reason) == (409, "Conflict")
    page = core.list_namespace(limit=2)
    rest = core.list_namespace(limit=100, _continue=page.metadata._continue)
    assert len(page.items) == 2 and NS in [n.metadata.name for n in page.items + rest.items]
    assert [s.metadata.name for s in core.list_service_for_all_namespaces().items] == ["kubernetes"]
    assert client.AppsV1Api(api).list_deployment_for_all_namespaces().items == []
    assert client.VersionApi(api).get_code().major == "1"  # asks for /version/, with the slash


def test_watches(api):
    core, seen, stream = client.CoreV1Api(api), [], watch.Watch()
    core.create_namespaced_config_map(NS, {"metadata": {"name": "w", "labels": {"seen": "yes"}}})
    for event in stream.stream(core.list_namespaced_config_map, NS, label_selector="seen=yes", timeout_seconds=10):
        seen.append((event["type"], event["object"].metadata.name))
        if event["type"] == "DELETED":
            stream.stop()
        elif event["type"] == "ADDED":
            core.patch_namespaced_config_map("w", NS, {"data": {"a": "b"}})
        else:
            core.delete_namespaced_config_map("w", NS)
    assert seen == [("ADDED", "w"), ("MODIFIED", "w"), ("DELETED", "w")]
    assert int(stream.resource_version) > 0


def test_dynamic_objects(api):
    found = dynamic.DynamicClient(api)
    assert {"VirtualMachine", "Project", "Deployment"} <= {r.kind for r in found.resources.search()}
    vms = found.resources.get(api_version="kubevirt.io/v1", kind="VirtualMachine")
    assert vms.create(body=VM, namespace=NS).spec.template.spec.domain.memory.guest == "128Mi"
    patched = vms.patch(name="vm1", namespace=NS, body={"metadata": {"labels": {"app": None, "x": "y"}}},
                        content_type="application/merge-patch+json")
    assert dict(patched.metadata.labels) == {"x": "y"}
    assert [vm.metadata.name for vm in vms.get(namespace=NS, label_selector="x=y").items] == ["vm1"]
    seen = [(e["type"], e["object"].metadata.name) for e in vms.watch(namespace=NS, timeout=1)]
    assert seen[0] == ("ADDED", "vm1") and set(seen[1:]) <= {("MODIFIED", "vm1")}  # its controller may write to it meanwhile
    vms.delete(name="vm1", namespace=NS)
