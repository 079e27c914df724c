#include "api/names.h"

#include <string.h>

#include "api/rules.h"
#include "base/alloc.h"
#include "base/random.h"
#include "base/str.h"

#define LABEL_MAX 63
#define SUBDOMAIN_MAX 253
#define ANNOTATIONS_MAX (256 << 10)

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static const char too_long_63[] = "must be no more than 63 characters";
static const char too_long_253[] = "must be no more than 253 characters";
static const char label_text[] = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or "
                                 "'-', and must start and end with an "
                                 "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
                                 "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
static const char subdomain_text[] = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
                                     "characters, '-' or '.', and must start and end "
                                     "with an alphanumeric character (e.g. 'example.com', regex used for validation is "
                                     "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
static const char dns_1035_text[] = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start "
                                    "with an alphabetic character, and end "
                                    "with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for "
                                    "validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
static const char label_value_text[] =
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with "
    "an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
static const char name_part_text[] = "name part must consist of alphanumeric characters, '-', '_' or '.', and must "
                                     "start and end with an alphanumeric character "
                                     "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
                                     "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
static const char qualified_text[] =
    "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. "
    "'example.com/MyName')";
static const char prefix_text[] =
    "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "
    "must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

static bool among(char c, const char *set)
{
    return c && strchr(set, c);
}

/* len characters, of which the first, the last and those between belong to their sets. */
static bool fits(const char *s, size_t len, const char *first, const char *between, const char *last)
{
    if (!len || !among(s[0], first) || !among(s[len - 1], last))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!among(s[i], between))
            return false;
    return true;
}

static bool is_label(const char *s, size_t len)
{
    return fits(s, len, LOWER DIGITS, LOWER DIGITS "-", LOWER DIGITS);
}

static bool is_subdomain(const char *s, size_t len)
{
    for (;;) {
        const char *dot = memchr(s, '.', len);
        size_t part = dot ? (size_t)(dot - s) : len;
        if (!is_label(s, part))
            return false;
        if (!dot)
            return true;
        s += part + 1;
        len -= part + 1;
    }
}

const char *name_fault_dns_label(const char *name)
{
    if (strlen(name) > LABEL_MAX)
        return too_long_63;
    return is_label(name, strlen(name)) ? NULL : label_text;
}

const char *name_fault_dns_subdomain(const char *name)
{
    if (strlen(name) > SUBDOMAIN_MAX)
        return too_long_253;
    return is_subdomain(name, strlen(name)) ? NULL : subdomain_text;
}

const char *name_fault_dns_1035(const char *name)
{
    if (strlen(name) > LABEL_MAX)
        return too_long_63;
    return fits(name, strlen(name), LOWER, LOWER DIGITS "-", LOWER DIGITS) ? NULL : dns_1035_text;
}

const char *name_fault_path_segment(const char *name)
{
    if (streq(name, "."))
        return "may not be '.'";
    if (streq(name, ".."))
        return "may not be '..'";
    if (strchr(name, '/'))
        return "may not contain '/'";
    return strchr(name, '%') ? "may not contain '%'" : NULL;
}

const char *name_fault(enum name_rule rule, const char *name)
{
    switch (rule) {
    case NAME_DNS_LABEL:
        return name_fault_dns_label(name);
    case NAME_DNS_1035:
        return name_fault_dns_1035(name);
    case NAME_PATH_SEGMENT:
        return name_fault_path_segment(name);
    default:
        return name_fault_dns_subdomain(name);
    }
}

static bool is_word(const char *s, size_t len)
{
    return fits(s, len, LOWER UPPER DIGITS, LOWER UPPER DIGITS "-_.", LOWER UPPER DIGITS);
}

const char *label_value_fault(const char *value)
{
    if (strlen(value) > LABEL_MAX)
        return too_long_63;
    return !*value || is_word(value, strlen(value)) ? NULL : label_value_text;
}

const char *qualified_name_fault(const char *key)
{
    const char *slash = strchr(key, '/'), *name = slash ? slash + 1 : key;
    size_t prefix = slash ? (size_t)(slash - key) : 0;

    if (strchr(name, '/'))
        return qualified_text;
    if (slash && !prefix)
        return "prefix part must be non-empty";
    if (prefix > SUBDOMAIN_MAX)
        return "prefix part must be no more than 253 characters";
    if (slash && !is_subdomain(key, prefix))
        return prefix_text;
    if (!*name)
        return "name part must be non-empty";
    if (strlen(name) > LABEL_MAX)
        return "name part must be no more than 63 characters";
    return is_word(name, strlen(name)) ? NULL : name_part_text;
}

static void add_fault(struct gw_error *err, const char *field, yyjson_val *value, const char *what)
{
    _cleanup_free_ char *text = what ? field_quote(value) : NULL;

    if (what)
        field_invalid(err, field, text, "%s", what);
}

static void check_name(const struct kind *kind, yyjson_val *object, struct gw_error *err)
{
    yyjson_val *name = json_at(object, "/metadata/name"), *namespace = json_at(object, "/metadata/namespace");

    if (!yyjson_is_str(name) || yyjson_get_len(name) == 0)
        field_required(err, "metadata.name", "name or generateName is required");
    else
        add_fault(err, "metadata.name", name, name_fault(kind->name_rule, yyjson_get_str(name)));
    if (!kind->namespaced && yyjson_get_len(namespace) > 0)
        field_forbidden(err, "metadata.namespace", "not allowed on this type");
    else if (kind->namespaced && yyjson_is_str(namespace))
        add_fault(err, "metadata.namespace", namespace, name_fault_dns_label(yyjson_get_str(namespace)));
}

void labels_check(const char *field, yyjson_val *labels, struct gw_error *err)
{
    yyjson_val *key, *value;

    json_each_member(labels, key, value) {
        add_fault(err, field, key, qualified_name_fault(yyjson_get_str(key)));
        if (yyjson_is_str(value))
            add_fault(err, field, value, label_value_fault(yyjson_get_str(value)));
    }
}

static void check_annotations(yyjson_val *object, struct gw_error *err)
{
    yyjson_val *key, *value;
    size_t size = 0;

    json_each_member(json_at(object, "/metadata/annotations"), key, value) {
        _cleanup_free_ char *lower = xstrdup(yyjson_get_str(key));
        for (char *c = lower; *c; c++)
            *c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
        add_fault(err, "metadata.annotations", key, qualified_name_fault(lower));
        size += yyjson_get_len(key) + yyjson_get_len(value);
    }
    if (size > ANNOTATIONS_MAX)
        gw_error_add_cause(err, "FieldValueTooLong", "metadata.annotations", "Too long: may not be more than %d bytes",
                           ANNOTATIONS_MAX);
}

static bool is_standard_finalizer(const char *name)
{
    return streq(name, "orphan") || streq(name, "foregroundDeletion") || streq(name, "kubernetes");
}

/* Kubernetes' own kinds want a domain (k8s.io/kubernetes pkg/apis/core/validation); definitions, and what they define,
 * don't (k8s.io/apimachinery). */
static const char *finalizer_fault(const struct kind *kind, const char *name)
{
    const char *fault = qualified_name_fault(name);

    if (fault || !kind->builtin || streq(kind->group, "apiextensions.k8s.io") || strchr(name, '/') ||
        is_standard_finalizer(name))
        return fault;
    return "name is neither a standard finalizer name nor is it fully qualified";
}

static void check_finalizers(const struct kind *kind, yyjson_val *object, struct gw_error *err)
{
    yyjson_val *item;

    json_each(json_at(object, "/metadata/finalizers"), item)
        if (yyjson_is_str(item))
            add_fault(err, "metadata.finalizers", item, finalizer_fault(kind, yyjson_get_str(item)));
}

static void check_owners(yyjson_val *object, struct gw_error *err)
{
    static const char *const needed[] = {"apiVersion", "kind", "name", "uid"};
    const char *controller = NULL;
    yyjson_val *owner;

    json_each(json_at(object, "/metadata/ownerReferences"), owner) {
        for (size_t k = 0; k < ARRAY_SIZE(needed); k++) {
            _cleanup_free_ char *field = xasprintf("metadata.ownerReferences.%s", needed[k]);
            if (yyjson_get_len(yyjson_obj_get(owner, needed[k])) == 0)
                field_invalid(err, field, "\"\"", "%s must not be empty", needed[k]);
        }
        if (streq(json_str_or(owner, "/kind", ""), "Event") && streq(json_str_or(owner, "/apiVersion", ""), "v1"))
            field_invalid(err, "metadata.ownerReferences", "\"\"", "/v1, Kind=Event is disallowed from being an owner");
        if (!json_bool(owner, "/controller", false))
            continue;
        if (controller)
            field_invalid(err, "metadata.ownerReferences", "\"\"",
                          "Only one reference can have Controller set to true. Found "
                          "\"true\" in references for %s and %s",
                          controller, json_str_or(owner, "/name", ""));
        controller = json_str_or(owner, "/name", "");
    }
}

void names_validate_metadata(const struct kind *kind, yyjson_val *object, struct gw_error *err)
{
    check_name(kind, object, err);
    labels_check("metadata.labels", json_at(object, "/metadata/labels"), err);
    check_annotations(object, err);
    check_finalizers(kind, object, err);
    check_owners(object, err);
}

char *name_generate(const char *base)
{
    char suffix[6];
    size_t len = strlen(base), most = LABEL_MAX - (sizeof(suffix) - 1);

    return xasprintf("%.*s%s", (int)MIN(len, most), base, random_suffix(suffix, sizeof(suffix) - 1));
}
