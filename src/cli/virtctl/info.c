/* version and expand. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/meta.h"
#include "api/yaml.h"
#include "base/alloc.h"
#include "base/fs.h"
#include "base/str.h"
#include "cli/virtctl/virtctl.h"

#define GROUP "/apis/subresources.kubevirt.io"
#define MANIFEST_MAX (1 << 20)

/* --- version --- */

static void print_version(const char *whose, yyjson_val *info)
{
    static const char *const rows[][2] = {
        {"GitVersion", "/gitVersion"}, {"GitCommit", "/gitCommit"}, {"GitTreeState", "/gitTreeState"},
        {"BuildDate", "/buildDate"},   {"GoVersion", "/goVersion"}, {"Compiler", "/compiler"},
        {"Platform", "/platform"},
    };

    printf("%s Version: version.Info{", whose);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        printf("%s%s:\"%s\"", i ? ", " : "", rows[i][0], json_str_or(info, rows[i][1], ""));
    printf("}\n");
}

static void print_client(void)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();

    json_set_str(d, "/gitVersion", "v" GODWIT_VERSION);
    json_set_str(d, "/compiler", "C");
    json_set_str(d, "/platform", "linux/amd64");
    _cleanup_doc_ yyjson_doc *doc = yyjson_mut_doc_imut_copy(d, NULL);
    print_version("Client", yyjson_doc_get_root(doc));
}

static int version(struct virtctl *v, struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *group = NULL, *info = NULL;
    int r;

    print_client();
    if (flag_bool(&v->line, "client"))
        return 0;
    r = virtctl_open(v, err);
    r = r < 0 ? r : cli_api_get(&v->api, GROUP, &group, err);
    if (r < 0)
        return r;
    const char *gv = json_str_or(yyjson_doc_get_root(group), "/preferredVersion/groupVersion", "");
    _cleanup_free_ char *path = xasprintf("/apis/%s/version", gv);
    r = cli_api_get(&v->api, path, &info, err);
    if (r == 0)
        print_version("Server", yyjson_doc_get_root(info));
    return r;
}

/* --- expand --- */

static int read_stream(FILE *f, struct str *ret, struct gw_error *err)
{
    char buf[4096];
    size_t n;

    while ((n = fread(buf, 1, sizeof(buf), f)) > 0) {
        str_add(ret, buf, n);
        if (ret->len > MANIFEST_MAX)
            return gw_error_set(err, GW_TOO_LARGE, "error reading from stdin: more than %d bytes", MANIFEST_MAX);
    }
    return ferror(f) ? gw_error_errno(err, errno, "error reading from stdin") : 0;
}

static int read_manifest(const char *file, yyjson_doc **ret, struct gw_error *err)
{
    _cleanup_str_ struct str text = {0};
    _cleanup_free_ char *data = NULL;
    size_t len = 0;
    int r;

    if (streq(file, "-"))
        r = read_stream(stdin, &text, err);
    else if ((r = fs_read(file, MANIFEST_MAX, &data, &len, err)) < 0)
        return virtctl_fail(err, r, "error reading file ");
    else
        str_add(&text, data, len);
    if (r == 0 && (r = yaml_parse(str_text(&text), text.len, ret, err)) < 0)
        return virtctl_fail(err, r, "error decoding VirtualMachine ");
    return r;
}

static int expand_file(struct virtctl *v, yyjson_doc **ret, struct gw_error *err)
{
    _cleanup_free_ char *path = xasprintf(GROUP "/v1/namespaces/%s/expand-vm-spec", v->ns);
    _cleanup_doc_ yyjson_doc *given = NULL;
    int r = read_manifest(flag_text(&v->line, "file"), &given, err);

    if (r < 0)
        return r;
    _cleanup_mut_doc_ yyjson_mut_doc *body = json_copy(yyjson_doc_get_root(given));
    r = cli_api_call(&v->api, "PUT", path, body, ret, err);
    return r < 0 ? virtctl_fail(err, r, "error expanding VirtualMachine - %s in namespace - %s: ",
                                meta_name(yyjson_doc_get_root(given)), v->ns)
                 : 0;
}

static int expand_named(struct virtctl *v, yyjson_doc **ret, struct gw_error *err)
{
    int r = virtctl_sub(v, "GET", "virtualmachines", flag_text(&v->line, "vm"), "expand-spec", NULL, ret, err);

    return r < 0 ? virtctl_fail(err, r,
                                "error expanding VirtualMachine - %s in namespace - %s: ", flag_text(&v->line, "vm"),
                                v->ns)
                 : 0;
}

static int expand(struct virtctl *v, struct gw_error *err)
{
    const char *format = flag_text(&v->line, "output");
    bool named = flag_given(&v->line, "vm");
    _cleanup_doc_ yyjson_doc *doc = NULL;

    if (!named && !flag_given(&v->line, "file"))
        return gw_error_set(err, GW_BAD_REQUEST,
                            "error invalid arguments - VirtualMachine name or file must be provided");
    if (!streq(format, "yaml") && !streq(format, "json"))
        return gw_error_set(err, GW_BAD_REQUEST, "error not supported output format defined: %s", format);
    int r = named ? expand_named(v, &doc, err) : expand_file(v, &doc, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *text = streq(format, "json") ? yyjson_write(doc, YYJSON_WRITE_PRETTY_TWO_SPACES, NULL)
                                                      : yaml_write(yyjson_doc_get_root(doc));
    fputs(text ? text : "", stdout);
    return 0;
}

/* --- the table --- */

static const struct flag version_flags[] = {
    {.name = "client", .letter = 'c', .kind = FLAG_BOOL, .help = "only this program's, without asking a server"},
    {0},
};

static const struct flag expand_flags[] = {
    {.name = "file", .letter = 'f', .help = "manifest of a virtual machine; - is standard input"},
    {.name = "output", .letter = 'o', .fallback = "yaml", .help = "yaml or json"},
    {.name = "vm", .help = "name of a virtual machine that is there"},
    {0},
};

static const char *const expand_exclusive[] = {"file vm", NULL};

const struct verb info_verbs[] = {
    {.name = "version",
     .help = "Print the versions of this program and of the server.",
     .examples = "  # Both:\n"
                 "  virtctl version\n",
     .flags = version_flags,
     .run = version,
     .local = true},
    {.name = "expand",
     .args = "(VM)",
     .help = "Print a virtual machine with its whole spec, defaults included.",
     .examples = "  # The VM 'myvm':\n"
                 "  virtctl expand --vm myvm\n\n"
                 "  # A manifest, as JSON:\n"
                 "  virtctl expand --file myvm.yaml --output json\n",
     .flags = expand_flags,
     .exclusive = expand_exclusive,
     .run = expand},
    {0},
};
