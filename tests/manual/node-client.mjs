// Round trips with the JavaScript client library: lists, patches of each kind, a watch, an informer. By hand, because npm is
// much to install; in an empty folder:
//     npm install @kubernetes/client-node@1.4 && cp .../tests/manual/node-client.mjs . && KUBECONFIG=FILE node node-client.mjs
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import * as k8s from '@kubernetes/client-node';

const kc = new k8s.KubeConfig();
kc.loadFromFile(process.env.KUBECONFIG);
const core = kc.makeApiClient(k8s.CoreV1Api), any = k8s.KubernetesObjectApi.makeApiClient(kc);
const namespace = `node-${process.pid}`;
const as = type => k8s.setHeaderOptions('Content-Type', type);
const vm = labels => ({
    apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachine', metadata: { name: 'vm1', namespace, labels },
    spec: { runStrategy: 'Halted', template: { spec: {
        domain: { devices: { disks: [{ name: 'd', disk: { bus: 'virtio' } }] }, memory: { guest: '128Mi' } },
        volumes: [{ name: 'd', containerDisk: { image: 'testguest' } }] } } },
});

async function patches() {
    const patch = async (body, type, name = 'c', more = {}) =>
        (await core.patchNamespacedConfigMap({ name, namespace, body, ...more }, as(type))).data;

    await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'c' }, data: { a: '1' } } });
    assert.deepEqual(await patch([{ op: 'replace', path: '/data/a', value: '2' }], k8s.PatchStrategy.JsonPatch), { a: '2' });
    assert.deepEqual(await patch({ data: { a: null, b: '3' } }, k8s.PatchStrategy.MergePatch), { b: '3' });
    assert.deepEqual(await patch({ data: { c: '4' } }, k8s.PatchStrategy.StrategicMergePatch), { b: '3', c: '4' });
    const applied = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'applied' }, data: { x: 'y' } };
    assert.deepEqual(await patch(applied, k8s.PatchStrategy.ServerSideApply, 'applied', { fieldManager: 'node' }), { x: 'y' });
}

async function ownKinds() {
    await any.create(vm());
    const labelled = await any.patch(vm({ a: 'b' }), undefined, undefined, undefined, undefined, k8s.PatchStrategy.MergePatch);
    assert.equal(labelled.metadata.labels.a, 'b');
    // As with a real server: kinds that are not Kubernetes' own take no strategic merge, which is this library's default.
    await assert.rejects(any.patch(vm({ c: 'd' })), e => e.code === 415);
    const seen = [];
    const path = `/apis/kubevirt.io/v1/namespaces/${namespace}/virtualmachines`;
    const watch = await new k8s.Watch(kc).watch(path, {}, (type, o) => seen.push(`${type} ${o.metadata.name}`), () => {});
    await sleep(500);
    watch.abort();
    assert.deepEqual(seen, ['ADDED vm1']);
    await any.delete(vm());
}

async function informer() {
    const seen = [], list = () => core.listNamespacedConfigMap({ namespace });
    const one = k8s.makeInformer(kc, `/api/v1/namespaces/${namespace}/configmaps`, list);
    for (const verb of ['add', 'update', 'delete'])
        one.on(verb, o => seen.push(`${verb} ${o.metadata.name}`));
    await one.start();
    await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'i' } } });
    await core.deleteNamespacedConfigMap({ namespace, name: 'i' });
    await sleep(500);
    await one.stop();
    assert.deepEqual(seen, ['add applied', 'add c', 'add i', 'delete i']);
}

await core.createNamespace({ body: { metadata: { name: namespace } } });
try {
    for (const test of [patches, ownKinds, informer]) {
        await test();
        console.log('ok', test.name);
    }
} finally {
    await core.deleteNamespace({ name: namespace });
}
process.exit(0);
