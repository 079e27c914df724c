"""What oc asks for beyond Kubernetes, by raw requests: projects, project requests, who one is."""
import json

import pytest
from server import Server

PROJECTS = "/apis/project.openshift.io/v1/projects"
REQUEST = {"apiVersion": "project.openshift.io/v1", "kind": "ProjectRequest", "metadata": {"name": "mine"}, "displayName": "Mine"}


@pytest.fixture
def server(tmp_path):
    one = Server(tmp_path)
    one.start()
    yield one
    one.stop()


def test_projects(server):
    def raw(path, user) -> dict:
        return json.loads(server.kubectl("get", "--raw", path, f"--as={user}"))

    def names(user) -> list:
        return [item["metadata"]["name"] for item in raw(PROJECTS, user)["items"]]

    server.kubectl("create", "rolebinding", "look", "-n", "default", "--clusterrole=view", "--user=ann")
    assert names("ann") == ["default"] and names("bea") == []
    assert raw("/apis/user.openshift.io/v1/users/~", "ann")["metadata"]["name"] == "ann"

    request = ["create", "-f", "-", "--as=bea", "--validate=false"]  # which would look for CRDs, as kubectl does for every group it does not know
    assert "forbidden" in server.kubectl(*request, text=json.dumps(REQUEST), ok=False).lower()
    server.kubectl("create", "clusterrolebinding", "makers", "--clusterrole=self-provisioner", "--user=bea")
    assert "mine created" in server.kubectl(*request, text=json.dumps(REQUEST))
    assert names("bea") == ["mine"] and names("ann") == ["default"]
    assert server.kubectl("auth", "can-i", "create", "virtualmachines", "-n", "mine", "--as=bea") == "yes\n"
    assert "mine" in server.kubectl("get", "projects", "--as=bea")
    done = server.kubectl("delete", "project.project.openshift.io", "mine", "--as=bea", "--timeout=20s")  # and waits for it
    assert "deleted" in done and names("bea") == []

    who = {"verb": "create", "resourceAPIGroup": "kubevirt.io", "resource": "virtualmachines"}
    path = "/apis/authorization.openshift.io/v1/namespaces/default/localresourceaccessreviews"
    server.kubectl("create", "rolebinding", "make", "-n", "default", "--clusterrole=edit", "--user=cat")
    answer = json.loads(server.kubectl("create", "--raw", path, "-f", "-", text=json.dumps(who)))
    assert answer["users"] == ["cat"] and answer["groups"] == ["system:masters"]
