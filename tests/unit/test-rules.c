/* Admission of the core kinds, of the settings, and the objects of the first start. */
#include "rules-helper.h"

#include "api/initial.h"

static yyjson_doc *store(const char *text, const char *old_text, char **ret_faults)
{
    _cleanup_doc_ yyjson_doc *object = yaml(text), *old = old_text ? yaml(old_text) : NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    yyjson_doc *stored = admit(&world, yyjson_doc_get_root(object), yyjson_doc_get_root(old), &err);

    *ret_faults = causes(&err);
    return stored;
}

#define OBJECT(kind, rest) "apiVersion: v1\nkind: " kind "\nmetadata: {name: x, namespace: default}\n" rest "\n"
#define PV(rest) "apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: x}\nspec: " rest "\n"
#define PVC(rest) OBJECT("PersistentVolumeClaim", "spec: " rest)
#define CSR(rest) "apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata: {name: x}\nspec: " rest "\n"
#define KUBEVIRT(spec) "apiVersion: kubevirt.io/v1\nkind: KubeVirt\nmetadata: {name: kubevirt, namespace: kubevirt}\nspec: " spec "\n"
#define POLICY(spec) "apiVersion: migrations.kubevirt.io/v1alpha1\nkind: MigrationPolicy\nmetadata: {name: p}\nspec: " spec "\n"
#define RBAC(kind, meta, rest) "apiVersion: rbac.authorization.k8s.io/v1\nkind: " kind "\nmetadata: {name: x" meta "}\n" rest "\n"
#define BINDING(ref, subject) RBAC("RoleBinding", ", namespace: default", "roleRef: " ref "\nsubjects: [" subject "]")
#define GOOD_CLAIM "{accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}, volumeName: a, storageClassName: c}"

/* What is refused: the object, what it was (or NULL), and a part of the causes ("" for none). */
static const struct {
    const char *text, *old, *fault;
} cases[] = {
    {PV("{capacity: {storage: 1Gi}, accessModes: [ReadWriteMany], hostPath: {path: /srv}}"), NULL, ""},
    {PV("{capacity: {storage: 1Gi}, accessModes: [ReadWriteMany]}"), NULL, "must specify a volume type"},
    {PV("{capacity: {storage: 0}, accessModes: [ReadWriteMany], hostPath: {path: /srv}}"), NULL, "spec.capacity.storage: "},
    {PV("{accessModes: [ReadWriteMany], hostPath: {path: /srv}}"), NULL, "spec.capacity.storage: Required"},
    {PV("{capacity: {storage: 1Gi}, hostPath: {path: /srv}}"), NULL, "at least 1 access mode"},
    {PV("{capacity: {storage: 1Gi}, accessModes: [Often], hostPath: {path: /srv}}"), NULL, "spec.accessModes[0]: Unsupported"},
    {PV("{capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /srv/../etc}}"), NULL,
     "spec.hostPath.path: Invalid"},
    {PV("{capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], local: {path: /srv}}"), NULL, "spec.nodeAffinity: Required"},
    {PV("{capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /b}}"),
     PV("{capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /a}}"), "immutable after creation"},
    {PVC(GOOD_CLAIM), NULL, ""},
    {PVC("{accessModes: [ReadWriteOnce]}"), NULL, "spec.resources.requests.storage: Required"},
    {PVC("{resources: {requests: {storage: 1Gi}}}"), NULL, "spec.accessModes: Required"},
    {PVC(GOOD_CLAIM), PVC("{accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}, storageClassName: c, "
                          "volumeMode: Filesystem}"), ""},
    {PVC(GOOD_CLAIM), PVC("{accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}, storageClassName: c, "
                          "volumeName: b, volumeMode: Filesystem}"), "spec is immutable after creation"},
    {PVC(GOOD_CLAIM), PVC("{accessModes: [ReadWriteOnce], resources: {requests: {storage: 2Gi}}, storageClassName: c, "
                          "volumeMode: Filesystem}"), "spec is immutable after creation"},
    {OBJECT("Secret", "data: {'a b': YQ==}"), NULL, "a valid config key"},
    {OBJECT("Secret", "data: {a: '%'}"), NULL, "data.a: "},
    {OBJECT("Secret", "type: b"), OBJECT("Secret", "type: a"), "type: Invalid value: \"b\": field is immutable"},
    {OBJECT("Secret", "immutable: true\ndata: {a: YQ==}"), OBJECT("Secret", "immutable: true\ntype: Opaque\ndata: {a: Yg==}"),
     "data: Forbidden: field is immutable"},
    {OBJECT("ConfigMap", "data: {a: x}\nbinaryData: {a: YQ==}"), NULL, "duplicate of key present in data"},
    {OBJECT("Pod", "spec: {containers: [{name: c}]}"), NULL, "Create a VirtualMachine instead"},
    {OBJECT("Pod", "spec: {containers: [{name: c, image: b}]}"), OBJECT("Pod", "spec: {containers: [{name: c, image: a}]}"),
     "pod updates may not change fields"},
    {RBAC("Role", ", namespace: default", "rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]"), NULL, ""},
    {RBAC("Role", ", namespace: default", "rules: [{resources: [pods], verbs: [get]}]"), NULL, "rules[0].apiGroups: Required"},
    {RBAC("Role", ", namespace: default", "rules: [{apiGroups: [''], verbs: [get]}]"), NULL, "rules[0].resources: Required"},
    {RBAC("Role", ", namespace: default", "rules: [{apiGroups: [''], resources: [pods], verbs: []}]"), NULL,
     "rules[0].verbs: Required value: verbs must contain at least one value"},
    {RBAC("Role", ", namespace: default", "rules: [{nonResourceURLs: [/x], verbs: [get]}]"), NULL,
     "namespaced rules cannot apply to non-resource URLs"},
    {RBAC("ClusterRole", "", "rules: [{nonResourceURLs: [/x], verbs: [get]}]"), NULL, ""},
    {RBAC("ClusterRole", "", "rules: [{nonResourceURLs: [/x], resources: [pods], verbs: [get]}]"), NULL,
     "rules cannot apply to both regular resources and non-resource URLs"},
    {RBAC("ClusterRole", "", "aggregationRule: {clusterRoleSelectors: []}"), NULL, "at least one clusterRoleSelector"},
    {BINDING("{kind: Role, name: r}", "{kind: User, name: u}"), NULL, ""},
    {BINDING("{kind: Roll, name: r}", "{kind: User, name: u}"), NULL, "roleRef.kind: Unsupported value"},
    {BINDING("{kind: Role, name: ''}", "{kind: User, name: u}"), NULL, "roleRef.name: Required"},
    {BINDING("{apiGroup: x, kind: Role, name: r}", "{kind: User, name: u}"), NULL, "roleRef.apiGroup: Unsupported"},
    {BINDING("{kind: Role, name: r}", "{kind: Robot, name: u}"), NULL, "subjects[0].kind: Unsupported"},
    {BINDING("{kind: Role, name: r}", "{kind: User, name: ''}"), NULL, "subjects[0].name: Required"},
    {BINDING("{kind: Role, name: r}", "{kind: User, apiGroup: x, name: u}"), NULL, "subjects[0].apiGroup: Unsupported"},
    {BINDING("{kind: Role, name: r}", "{kind: ServiceAccount, name: u}"), NULL, "subjects[0].namespace: Required"},
    {BINDING("{kind: Role, name: r}", "{kind: ServiceAccount, namespace: n, name: u}"), NULL, ""},
    {BINDING("{kind: Role, name: r}", "{kind: User, name: u}"), BINDING("{kind: Role, name: q}", "{kind: User, name: u}"),
     "cannot change roleRef"},
    {RBAC("ClusterRoleBinding", "", "roleRef: {kind: Role, name: r}"), NULL, "roleRef.kind: Unsupported"},
    {CSR("{request: YQ==, signerName: example.com/x, usages: [client auth]}"), NULL, ""},
    {CSR("{request: YQ==, signerName: nobody, usages: [client auth]}"), NULL, "spec.signerName: Invalid"},
    {CSR("{request: YQ==, signerName: example.com/x}"), NULL, "spec.usages: Required"},
    {CSR("{request: YQ==, signerName: example.com/x, usages: [client auth], expirationSeconds: 5}"), NULL,
     "spec.expirationSeconds: "},
    {CSR("{request: YQ==, signerName: example.com/x, usages: [a]}"), CSR("{request: Yg==, signerName: example.com/x, usages: "
                                                                         "[a]}"), "field is immutable"},
    {KUBEVIRT("{configuration: {migrations: {bandwidthPerMigration: -1}}}"), NULL, "must not be negative"},
    {KUBEVIRT("{configuration: {migrations: {bandwidthPerMigration: 64Mi, completionTimeoutPerGiB: 800, "
              "parallelMigrationsPerCluster: 5, parallelOutboundMigrationsPerNode: 2, progressTimeout: 150, "
              "allowAutoConverge: true, allowPostCopy: false}}}"), NULL, ""},
    {KUBEVIRT("{configuration: {migrations: {disableTLS: true}}}"), NULL, "always encrypted"},
    {KUBEVIRT("{configuration: {migrations: {nodeDrainTaintKey: example.com/empty}}}"), NULL, ""},
    {KUBEVIRT("{configuration: {migrations: {nodeDrainTaintKey: 'two words'}}}"), NULL,
     "spec.configuration.migrations.nodeDrainTaintKey: Invalid value"},
    {KUBEVIRT("{configuration: {migrations: {parallelMigrationsPerCluster: 0}}}"), NULL, "greater than or equal to 1"},
    {KUBEVIRT("{configuration: {cpuModel: 'a,b'}}"), NULL, "spec.configuration.cpuModel"},
    {"apiVersion: kubevirt.io/v1\nkind: KubeVirt\nmetadata: {name: mine, namespace: kubevirt}\nspec: {}\n", NULL,
     "only kubevirt/kubevirt is used"},
    {POLICY("{selectors: {namespaceSelector: {a: b}}, completionTimeoutPerGiB: 5}"), NULL, ""},
    {POLICY("{completionTimeoutPerGiB: 5}"), NULL, "spec.selectors: Required"},
    {POLICY("{selectors: {}, completionTimeoutPerGiB: -5}"), NULL, "spec.completionTimeoutPerGiB: "},
    {POLICY("{selectors: {namespaceSelector: {a: 'b c'}}}"), NULL, "spec.selectors.namespaceSelector: "},
    {"apiVersion: v1\nkind: Node\nmetadata: {name: n}\nspec: {taints: [{key: a, effect: NoSchedule}, {key: a, effect: "
     "NoSchedule}]}\n", NULL, "spec.taints[1]: Duplicate"},
    {"apiVersion: v1\nkind: Node\nmetadata: {name: n}\nspec: {podCIDR: 10.1.0.0/24}\n",
     "apiVersion: v1\nkind: Node\nmetadata: {name: n}\nspec: {podCIDR: 10.2.0.0/24}\n", "spec.podCIDR: Forbidden"},
    {OBJECT("Event", "involvedObject: {kind: Pod, namespace: other}"), NULL, "does not match event.namespace"},
    {"apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {name: l, namespace: default}\nspec: "
     "{leaseDurationSeconds: 0}\n", NULL, "must be greater than 0"},
};

static void test_cases(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *faults = NULL;
        _unused_ _cleanup_doc_ yyjson_doc *stored = store(cases[i].text, cases[i].old, &faults);

        if (*cases[i].fault ? !strstr(faults, cases[i].fault) : *faults != '\0')
            fail_msg("%sgives:\n%s", cases[i].text, faults);
    }
}

static void test_secret_text_becomes_data(void **state)
{
    _cleanup_free_ char *faults = NULL;
    _cleanup_doc_ yyjson_doc *stored = store(OBJECT("Secret", "stringData: {a: hello, b: hell, c: hel, d: ''}\ndata: {a: eA==}"),
                                             NULL, &faults);
    yyjson_val *root = yyjson_doc_get_root(stored);

    assert_string_equal(faults, "");
    assert_string_equal(json_str(root, "/data/a"), "aGVsbG8=");
    assert_string_equal(json_str(root, "/data/b"), "aGVsbA==");
    assert_string_equal(json_str(root, "/data/c"), "aGVs");
    assert_string_equal(json_str(root, "/data/d"), "");
    assert_string_equal(json_str(root, "/type"), "Opaque");
    assert_null(json_at(root, "/stringData"));
}

static void test_claim_gets_the_default_class(void **state)
{
    _cleanup_free_ char *faults = NULL;
    world_add(&world, "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: a}\nprovisioner: p\n");
    world_add(&world, "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nprovisioner: p\nmetadata: {name: b, annotations: "
                      "{storageclass.kubernetes.io/is-default-class: 'true'}}\n");
    _cleanup_doc_ yyjson_doc *stored = store(PVC("{accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}"), NULL,
                                             &faults);

    assert_string_equal(faults, "");
    assert_string_equal(json_str(yyjson_doc_get_root(stored), "/spec/storageClassName"), "b");
}

static bool is_held(const char *text, const char *finalizer)
{
    _cleanup_free_ char *faults = NULL;
    _cleanup_doc_ yyjson_doc *stored = store(text, NULL, &faults);

    assert_string_equal(faults, "");
    return meta_has_finalizer(yyjson_doc_get_root(stored), finalizer);
}

/* From the first instant: a controller that adds it may come after the delete. */
static void test_claims_and_definitions_are_made_with_their_finalizer(void **state)
{
    static const char crd[] = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: cs.e.org}\n"
                              "spec: {group: e.org, scope: Cluster, names: {plural: cs, kind: C}, versions: [{name: v1, served: true, "
                              "storage: true, schema: {openAPIV3Schema: {type: object}}}]}\n";

    assert_true(is_held(crd, "customresourcecleanup.apiextensions.k8s.io"));
    assert_true(is_held(PVC("{accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}"), "kubernetes.io/pvc-protection"));
}

static void test_controllers_make_pods(void **state)
{
    static const char pod[] = "apiVersion: v1\nkind: Pod\nmetadata: {name: virt-launcher-x, namespace: default, labels: "
                              "{kubevirt.io: virt-launcher}, ownerReferences: [{apiVersion: kubevirt.io/v1, kind: "
                              "VirtualMachineInstance, name: x, uid: u, controller: true}]}\n"
                              "spec: {restartPolicy: Never, containers: [{name: compute}]}\n";
    _cleanup_free_ char *faults = NULL, *other = NULL;

    world.group = "system:godwit:controllers";
    _cleanup_doc_ yyjson_doc *stored = store(pod, NULL, &faults);
    assert_string_equal(faults, "");
    assert_string_equal(json_str(yyjson_doc_get_root(stored), "/status/phase"), "Pending");
    _unused_ _cleanup_doc_ yyjson_doc *bare = store(OBJECT("Pod", "spec: {containers: [{name: c}]}"), NULL, &other);
    assert_non_null(strstr(other, "virt-launcher"));
}

static void test_requests_name_who_asks(void **state)
{
    _cleanup_free_ char *faults = NULL;
    _cleanup_doc_ yyjson_doc *stored = store(CSR("{request: YQ==, signerName: a.b/c, usages: [x], username: root, groups: "
                                                 "[system:nodes], uid: '1'}"), NULL, &faults);
    yyjson_val *root = yyjson_doc_get_root(stored);

    assert_string_equal(json_str(root, "/spec/username"), "somebody");
    assert_int_equal(yyjson_arr_size(json_at(root, "/spec/groups")), 1);
    assert_string_equal(json_str(root, "/spec/groups/0"), "system:masters");
    assert_null(json_at(root, "/spec/uid"));
}

static void test_gates_are_warned_of(void **state)
{
    _cleanup_free_ char *faults = NULL;
    _unused_ _cleanup_doc_ yyjson_doc *stored = store(KUBEVIRT("{configuration: {developerConfiguration: {featureGates: [LiveMigration, "
                                                      "Sidecar, HotplugVolumes]}}}"), NULL, &faults);

    assert_string_equal(faults, "");
    assert_non_null(strstr(world.warning, "(Sidecar, HotplugVolumes)"));
}

static void test_scale_of_definitions_is_warned_of(void **state)
{
    _cleanup_free_ char *faults = NULL;
    _unused_ _cleanup_doc_ yyjson_doc *stored = store(
        "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: ships.x.io}, spec: {group: x.io, "
        "scope: Namespaced, names: {plural: ships, kind: Ship}, versions: [{name: v1, served: true, storage: true, subresources: "
        "{scale: {specReplicasPath: .spec.n, statusReplicasPath: .status.n}}, schema: {openAPIV3Schema: {type: object}}}]}}",
        NULL, &faults);

    assert_string_equal(faults, "");
    assert_non_null(strstr(world.warning, "subresources.scale is not served"));
}

static void test_what_cannot_be_deleted(void **state)
{
    static const struct {
        const char *text;
        bool kept;
    } objects[] = {
        {"apiVersion: v1\nkind: Namespace\nmetadata: {name: default}\n", true},
        {"apiVersion: v1\nkind: Namespace\nmetadata: {name: mine}\n", false},
        {KUBEVIRT("{}"), true},
    };

    for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
        _cleanup_doc_ yyjson_doc *object = yaml(objects[i].text);
        _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
        yyjson_val *root = yyjson_doc_get_root(object);
        const struct kind *kind = kinds_find_object(world.kinds, json_str(root, "/apiVersion"), json_str(root, "/kind"));
        struct rule_ctx ctx = {.kind = kind, .namespace = meta_namespace(root)};

        assert_int_equal(kind->rules->before_delete(&ctx, root, &err) < 0, objects[i].kept);
        assert_int_equal(err.reason == GW_FORBIDDEN, objects[i].kept);
    }
}

static void test_first_objects_are_valid(void **state)
{
    _cleanup_yaml_docs_ struct yaml_docs docs = {0};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    size_t namespaces = 0;

    assert_int_equal(initial_objects(&docs, &err), 0);
    for (size_t i = 0; i < docs.len; i++) {
        yyjson_val *root = yyjson_doc_get_root(docs.items[i]);
        _cleanup_error_ struct gw_error fault = GW_ERROR_INIT;
        _unused_ _cleanup_doc_ yyjson_doc *stored = admit(&world, root, NULL, &fault);
        _cleanup_free_ char *faults = causes(&fault);

        assert_string_equal(faults, "");
        if (streq(json_str(root, "/kind"), "Namespace"))
            assert_int_equal(i, namespaces++); /* before what lives in them */
    }
    assert_int_equal(namespaces, 5);
    assert_int_equal(docs.len, 38);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_cases, world_tear_down),
        cmocka_unit_test_teardown(test_secret_text_becomes_data, world_tear_down),
        cmocka_unit_test_teardown(test_claim_gets_the_default_class, world_tear_down),
        cmocka_unit_test_teardown(test_claims_and_definitions_are_made_with_their_finalizer, world_tear_down),
        cmocka_unit_test_teardown(test_controllers_make_pods, world_tear_down),
        cmocka_unit_test_teardown(test_requests_name_who_asks, world_tear_down),
        cmocka_unit_test_teardown(test_gates_are_warned_of, world_tear_down),
        cmocka_unit_test_teardown(test_scale_of_definitions_is_warned_of, world_tear_down),
        cmocka_unit_test_teardown(test_what_cannot_be_deleted, world_tear_down),
        cmocka_unit_test_teardown(test_first_objects_are_valid, world_tear_down),
    };
    return cmocka_run_group_tests(tests, world_load, world_unload);
}
