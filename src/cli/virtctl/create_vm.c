/* create vm: the manifest of a VM out of options (virtctl 1.8, pkg/virtctl/create/vm). Options for what Godwit's VMs
 * have not are refused here, not when the manifest is applied. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/names.h"
#include "api/quantity.h"
#include "api/yaml.h"
#include "base/alloc.h"
#include "base/fs.h"
#include "base/random.h"
#include "base/str.h"
#include "cli/virtctl/params.h"
#include "cli/virtctl/virtctl.h"

#define SPEC "/spec/template/spec"
#define VOLUMES SPEC "/volumes"
#define DISKS SPEC "/domain/devices/disks"
#define CLOUD_INIT_DISK "cloudinitdisk"
#define PASSWORD_MAX 4096

/* --- volumes --- */

/* The item of an array whose name is this, or NULL. */
static yyjson_mut_val *find_named(yyjson_mut_doc *vm, const char *path, const char *name)
{
    yyjson_mut_val *item;
    size_t i, n;

    yyjson_mut_arr_foreach(json_mut_at(vm, path), i, n, item)
        if (streq(yyjson_mut_get_str(yyjson_mut_obj_get(item, "name")), name))
            return item;
    return NULL;
}

/* A new object with a name at the end of an array. */
static yyjson_mut_val *add_named(yyjson_mut_doc *vm, const char *path, const char *name)
{
    yyjson_mut_val *item = yyjson_mut_obj(vm);

    yyjson_mut_obj_add_strcpy(vm, item, "name", name);
    if (!json_mut_at(vm, path))
        json_set(vm, path, yyjson_mut_arr(vm));
    yyjson_mut_arr_append(json_mut_at(vm, path), item);
    return item;
}

/* Whether a disk has this place in the boot order. */
static bool is_order_taken(yyjson_mut_doc *vm, long long order)
{
    yyjson_mut_val *item;
    size_t i, n;

    yyjson_mut_arr_foreach(json_mut_at(vm, DISKS), i, n, item)
        if (yyjson_mut_get_sint(yyjson_mut_obj_get(item, "bootOrder")) == order)
            return true;
    return false;
}

static int add_boot_order(yyjson_mut_doc *vm, const char *option, const char *name, const char *text,
                          struct gw_error *err)
{
    char *end;
    long long order = text ? strtoll(text, &end, 10) : 0;

    if (!text)
        return 0;
    if (!*text || *end || order < 0 || order > UINT32_MAX)
        return flag_fault(err, option, "failed to parse param \"bootorder\": parsing \"%s\": invalid syntax", text);
    if (order == 0)
        return flag_fault(err, option, "bootorder must be greater than 0");
    if (is_order_taken(vm, order))
        return flag_fault(err, option, "bootorder %lld was specified multiple times", order);
    yyjson_mut_obj_add_sint(vm, add_named(vm, DISKS, name), "bootOrder", order);
    return 0;
}

/* One volume: {"name": name, kind: {key: source}}. */
static int add_volume(yyjson_mut_doc *vm, const char *option, const char *name, const char *kind, const char *key,
                      const char *source, struct gw_error *err)
{
    const char *fault = name_fault_dns_label(name);
    yyjson_mut_val *of_kind;

    if (fault)
        return flag_fault(err, option, "invalid name \"%s\": %s", name, fault);
    if (find_named(vm, VOLUMES, name))
        return flag_fault(err, option, "there is already a volume with name \"%s\"", name);
    of_kind = yyjson_mut_obj_add_obj(vm, add_named(vm, VOLUMES, name), kind);
    yyjson_mut_obj_add_strcpy(vm, of_kind, key, source);
    return 0;
}

static int check_claim(const char *option, const char *source, struct gw_error *err)
{
    const char *slash = strchr(source, '/');

    if (!slash)
        return 0;
    if (strchr(slash + 1, '/'))
        return flag_fault(err, option, "src invalid: more than one slash in \"%s\"", source);
    return flag_fault(err, option, "not allowed to specify namespace of pvc \"%s\"", slash + 1);
}

/* The values of --volume-containerdisk or --volume-pvc. */
static int add_volumes(const struct virtctl *v, yyjson_mut_doc *vm, bool claims, struct gw_error *err)
{
    static const char *const keys[] = {"src", "name", "bootorder", NULL};
    const char *option = claims ? "volume-pvc" : "volume-containerdisk", *value;
    size_t number = 0;
    int r = 0;

    for (size_t at = 0; r == 0 && (value = flag_next(&v->line, option, &at)); number++) {
        _cleanup_free_ char *text = xstrdup(value);
        _cleanup_free_ char *disk = xasprintf("%s-containerdisk-%zu", json_mut_str(vm, "/metadata/name"), number);
        const char *part[ARRAY_SIZE(keys)];

        r = params_read(option, text, keys, part, err);
        if (r == 0 && (!part[0] || !*part[0]))
            return flag_fault(err, option, "src must be specified");
        if (r == 0 && claims)
            r = check_claim(option, part[0], err);
        if (r < 0)
            return r;
        const char *name = part[1] && *part[1] ? part[1] : claims ? part[0] : disk;
        r = add_volume(vm, option, name, claims ? "persistentVolumeClaim" : "containerDisk",
                       claims ? "claimName" : "image", part[0], err);
        r = r < 0 ? r : add_boot_order(vm, option, name, part[2], err);
    }
    return r;
}

/* --- cloud-init --- */

static int add_password(const struct virtctl *v, yyjson_mut_doc *config, struct gw_error *err)
{
    const char *file = flag_text(&v->line, "password-file");
    _cleanup_free_ char *text = NULL;
    int r = file ? fs_read(file, PASSWORD_MAX, &text, NULL, err) : 0;
    char *begin;

    if (!file)
        return 0;
    if (r < 0)
        return virtctl_fail(err, r, "failed to parse \"--password-file\" flag: ");
    fprintf(stderr, "WARNING: --password-file: the password stands in the VM's manifest for all its readers\n");
    begin = text + strspn(text, " \t\r\n");
    for (size_t len = strlen(begin); len && strchr(" \t\r\n", begin[len - 1]);)
        begin[--len] = '\0';
    if (*begin) {
        json_set_str(config, "/password", begin);
        json_set_bool(config, "/chpasswd/expire", false);
    }
    return 0;
}

/* Several in one value have commas between them. */
static void add_keys(const struct virtctl *v, yyjson_mut_doc *config)
{
    const char *value;

    for (size_t at = 0; (value = flag_next(&v->line, "ssh-key", &at));) {
        _cleanup_free_ char *copy = xstrdup(value);
        char *rest = copy;

        if (!json_mut_at(config, "/ssh_authorized_keys"))
            json_set(config, "/ssh_authorized_keys", yyjson_mut_arr(config));
        for (char *key; (key = strsep(&rest, ","));)
            yyjson_mut_arr_add_strcpy(config, json_mut_at(config, "/ssh_authorized_keys"), key);
    }
}

/* Cloud-init's configuration as YAML; *ret stays NULL when there is nothing in it. */
static int make_user_data(const struct virtctl *v, char **ret, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *config = json_object();
    const char *user = flag_text(&v->line, "user");
    int r;

    if (user && *user)
        json_set_str(config, "/user", user);
    r = add_password(v, config, err);
    if (r < 0)
        return r;
    add_keys(v, config);
    if (yyjson_mut_obj_size(yyjson_mut_doc_get_root(config)) == 0)
        return 0;
    _cleanup_doc_ yyjson_doc *doc = yyjson_mut_doc_imut_copy(config, NULL);
    _cleanup_free_ char *yaml = yaml_write(yyjson_doc_get_root(doc));
    *ret = xasprintf("#cloud-config\n%s", yaml);
    return 0;
}

static int add_cloud_init_disk(const struct virtctl *v, yyjson_mut_doc *vm, struct gw_error *err)
{
    const char *given = flag_text(&v->line, "cloud-init-user-data");
    const char *network = flag_text(&v->line, "cloud-init-network-data");
    _cleanup_free_ char *made = NULL;
    yyjson_mut_val *source;
    int r = given ? 0 : make_user_data(v, &made, err);

    if (r < 0 || (!given && !made && !network && !flag_given(&v->line, "cloud-init")))
        return r;
    if (find_named(vm, VOLUMES, CLOUD_INIT_DISK))
        return gw_error_set(err, GW_BAD_REQUEST, "there is already a volume with name \"" CLOUD_INIT_DISK "\"");
    source = yyjson_mut_obj_add_obj(vm, add_named(vm, VOLUMES, CLOUD_INIT_DISK), "cloudInitNoCloud");
    if (network)
        yyjson_mut_obj_add_strcpy(vm, source, "networkDataBase64", network);
    yyjson_mut_obj_add_strcpy(vm, source, given ? "userDataBase64" : "userData",
                              given  ? given
                              : made ? made
                                     : "#cloud-config");
    return 0;
}

static int add_cloud_init(const struct virtctl *v, yyjson_mut_doc *vm, struct gw_error *err)
{
    const char *type = flag_text(&v->line, "cloud-init");

    if (strcasecmp(type, "none") == 0)
        return 0;
    if (strcasecmp(type, "configdrive") == 0)
        return flag_fault(err, "cloud-init", "Godwit makes no config drives, use nocloud");
    if (strcasecmp(type, "nocloud") != 0)
        return flag_fault(err, "cloud-init",
                          "invalid cloud-init data source type \"%s\", supported values are: nocloud, none", type);
    return add_cloud_init_disk(v, vm, err);
}

/* --- the VM --- */

static int set_run_strategy(const struct virtctl *v, yyjson_mut_doc *vm, struct gw_error *err)
{
    static const char *const strategies[] = {"Always", "Manual", "Halted", "Once", "RerunOnFailure"};
    const char *text = flag_text(&v->line, "run-strategy");

    for (size_t i = 0; i < ARRAY_SIZE(strategies); i++)
        if (strcasecmp(strategies[i], text) == 0) {
            json_set_str(vm, "/spec/runStrategy", strategies[i]);
            return 0;
        }
    return flag_fault(err, "run-strategy",
                      "invalid run strategy \"%s\", supported values are: Always, Manual, Halted, Once, RerunOnFailure",
                      text);
}

static int set_memory(const struct virtctl *v, yyjson_mut_doc *vm, struct gw_error *err)
{
    char text[QUANTITY_TEXT_MAX];
    struct quantity q;
    int r = quantity_parse(flag_text(&v->line, "memory"), &q, err);

    if (r < 0)
        return virtctl_fail(err, r, "failed to parse \"--memory\" flag: ");
    json_set_str(vm, SPEC "/domain/memory/guest", quantity_format(&q, text));
    return 0;
}

static void set_name(const struct virtctl *v, yyjson_mut_doc *vm)
{
    const char *name = flag_text(&v->line, "name"), *ns = flag_text(&v->line, "namespace");
    _cleanup_free_ char *made = name && *name ? NULL : name_generate("vm-");

    json_set_str(vm, "/apiVersion", "kubevirt.io/v1");
    json_set_str(vm, "/kind", "VirtualMachine");
    json_set_str(vm, "/metadata/name", made ? made : name);
    if (ns)
        json_set_str(vm, "/metadata/namespace", ns);
}

static int create_vm(struct virtctl *v, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *vm = json_object();
    int r;

    set_name(v, vm);
    json_set(vm, SPEC "/domain/devices", yyjson_mut_obj(vm)); /* the schema wants it */
    r = set_run_strategy(v, vm, err);
    r = r < 0 ? r : set_memory(v, vm, err);
    json_set_int(vm, SPEC "/terminationGracePeriodSeconds", flag_int(&v->line, "termination-grace-period"));
    r = r < 0 ? r : add_volumes(v, vm, false, err);
    r = r < 0 ? r : add_volumes(v, vm, true, err);
    r = r < 0 ? r : add_cloud_init(v, vm, err);
    if (r < 0)
        return r;
    _cleanup_doc_ yyjson_doc *doc = yyjson_mut_doc_imut_copy(vm, NULL);
    _cleanup_free_ char *text = yaml_write(yyjson_doc_get_root(doc));
    fputs(text, stdout);
    return 0;
}

/* --- the table --- */

#define NO_TYPES "Godwit has no instance types and no preferences, --memory says what the VM needs"
#define NO_IMPORT "Godwit has no importer that fills volumes, use --volume-containerdisk, or --volume-pvc with a claim"
#define NO_AGENT "Godwit puts no keys and no passwords into guests that run, use --ssh-key or --password-file"
#define REFUSED(option, why) \
    { \
        .name = (option), .kind = FLAG_LIST, .refused = (why) \
    }

static const struct flag create_vm_flags[] = {
    {.name = "name", .help = "name of the VM; made up if not given"},
    {.name = "run-strategy", .fallback = "Always", .help = "Always, Manual, Halted, Once or RerunOnFailure"},
    {.name = "termination-grace-period", .kind = FLAG_INT, .fallback = "180", .help = "seconds for the guest to end"},
    {.name = "memory", .fallback = "512Mi", .help = "memory of the guest"},
    {.name = "volume-containerdisk",
     .kind = FLAG_LIST,
     .help = "a disk from an image: src:IMAGE[,name:NAME][,bootorder:N]; may be given several times"},
    {.name = "volume-pvc",
     .kind = FLAG_LIST,
     .help = "a disk from a claim: src:CLAIM[,name:NAME][,bootorder:N]; may be given several times"},
    {.name = "user", .help = "cloud-init: the user that is set up"},
    {.name = "password-file", .help = "cloud-init: file with the user's password, which the manifest then shows"},
    {.name = "ssh-key",
     .kind = FLAG_LIST,
     .help = "cloud-init: public keys that may log in, with commas between them; may be given several times"},
    {.name = "cloud-init", .fallback = "nocloud", .help = "how cloud-init is given what is for it: nocloud, or none"},
    {.name = "cloud-init-user-data", .help = "cloud-init: all user data, in base64"},
    {.name = "cloud-init-network-data", .help = "cloud-init: network configuration, in base64"},
    REFUSED("access-cred", NO_AGENT),
    {.name = "ga-manage-ssh", .kind = FLAG_BOOL, .refused = NO_AGENT},
    REFUSED("instancetype", NO_TYPES),
    {.name = "infer-instancetype", .kind = FLAG_BOOL, .refused = NO_TYPES},
    REFUSED("infer-instancetype-from", NO_TYPES),
    REFUSED("preference", NO_TYPES),
    {.name = "infer-preference", .kind = FLAG_BOOL, .refused = NO_TYPES},
    REFUSED("infer-preference-from", NO_TYPES),
    REFUSED("volume-import", NO_IMPORT),
    REFUSED("volume-blank", NO_IMPORT),
    REFUSED("volume-clone-pvc", NO_IMPORT),
    REFUSED("volume-datasource", NO_IMPORT),
    REFUSED("volume-sysprep", "Godwit has no disks for Windows' set-up"),
    {0},
};

static const char *const create_vm_exclusive[] = {"cloud-init-user-data user", "cloud-init-user-data password-file",
                                                  "cloud-init-user-data ssh-key", NULL};

const struct verb create_verbs[] = {
    {.name = "create", .help = "Print a manifest of a kind."},
    {.name = "create vm",
     .help = "Print the manifest of a VirtualMachine.",
     .more = "Disks without a place in the boot order are tried in the order of the manifest: images, then claims.",
     .examples =
         "  # A VM from an image:\n"
         "  virtctl create vm --name=myvm --memory=1Gi --volume-containerdisk=src:testguest | kubectl apply -f -\n\n"
         "  # With a claim as its disk, stopped at first:\n"
         "  virtctl create vm --name=myvm --run-strategy=Halted --volume-pvc=src:data,bootorder:1\n\n"
         "  # With a user and his key, by cloud-init:\n"
         "  virtctl create vm --user=jdoe --ssh-key=\"$(cat key.pub)\" --volume-containerdisk=src:debian\n",
     .flags = create_vm_flags,
     .exclusive = create_vm_exclusive,
     .run = create_vm,
     .local = true},
    {0},
};
