#include "agent/guest/answers.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

#define TEXT_BYTES 256
#define INTERFACES 64
#define ADDRESSES 16
#define COMMANDS 256
#define DISKS 4

/* --- Texts --- */

/* Whether the UTF-8 text at p begins with a control character: C0, DEL, or C1 (two bytes, the first one 0xc2). */
static bool is_control(const unsigned char *p)
{
    return *p < 0x20 || *p == 0x7f || (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0);
}

/* yyjson has seen that it is UTF-8. */
char *answer_clean(const char *text, char *buf, size_t size)
{
    size_t len = 0;

    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        size_t n = *p < 0x80 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;

        if (len + n >= size)
            break;
        if (is_control(p))
            buf[len++] = '?';
        else
            for (size_t i = 0; i < n; i++)
                buf[len++] = (char)p[i];
        p += n;
    }
    buf[len] = '\0';
    return buf;
}

yyjson_mut_val *answer_text(yyjson_mut_doc *d, yyjson_val *result, const char *path)
{
    const char *text = json_str(result, path);
    char buf[TEXT_BYTES];

    if (!text || !*text)
        return NULL;
    answer_clean(text, buf, sizeof(buf));
    return yyjson_mut_strcpy(d, buf);
}

static void put(yyjson_mut_val *object, yyjson_mut_doc *d, const char *key, yyjson_mut_val *value)
{
    if (value)
        yyjson_mut_obj_add(object, yyjson_mut_str(d, key), value);
}

/* Members that KubeVirt's types always have. */
static void put_text(yyjson_mut_val *object, yyjson_mut_doc *d, const char *key, yyjson_val *from, const char *path)
{
    yyjson_mut_val *value = answer_text(d, from, path);

    put(object, d, key, value ? value : yyjson_mut_str(d, ""));
}

static void put_size(yyjson_mut_val *object, yyjson_mut_doc *d, const char *key, yyjson_val *from, const char *path)
{
    put(object, d, key, yyjson_mut_sint(d, MAX(json_int(from, path, 0), 0)));
}

/* --- The system --- */

yyjson_mut_val *answer_os(yyjson_mut_doc *d, yyjson_val *result)
{
    static const char *const names[][2] = {
        {"name", "/name"},
        {"kernelRelease", "/kernel-release"},
        {"version", "/version"},
        {"prettyName", "/pretty-name"},
        {"versionId", "/version-id"},
        {"kernelVersion", "/kernel-version"},
        {"machine", "/machine"},
        {"id", "/id"},
    };
    yyjson_mut_val *os = yyjson_mut_obj(d);

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        put(os, d, names[i][0], answer_text(d, result, names[i][1]));
    return yyjson_mut_obj_size(os) ? os : NULL;
}

yyjson_mut_val *answer_timezone(yyjson_mut_doc *d, yyjson_val *result)
{
    char zone[TEXT_BYTES], both[TEXT_BYTES + 24];

    answer_clean(json_str_or(result, "/zone", ""), zone, sizeof(zone));
    snprintf(both, sizeof(both), "%s, %" PRId64, zone, json_int(result, "/offset", 0));
    return yyjson_mut_strcpy(d, both);
}

yyjson_mut_val *answer_commands(yyjson_mut_doc *d, yyjson_val *result)
{
    yyjson_mut_val *list = yyjson_mut_arr(d);
    yyjson_val *item;

    json_each(json_at(result, "/supported_commands"), item) {
        if (yyjson_mut_arr_size(list) == COMMANDS)
            break;
        yyjson_mut_val *command = yyjson_mut_arr_add_obj(d, list);
        put_text(command, d, "name", item, "/name");
        if (json_bool(item, "/enabled", false))
            put(command, d, "enabled", yyjson_mut_true(d));
    }
    return list;
}

/* The commands and the sentence are those of KubeVirt's node agent (virt-handler's guestagent.go). */
const char *answer_unsupported(yyjson_val *result)
{
    static const char *const required[] = {"guest-ping",
                                           "guest-get-time",
                                           "guest-info",
                                           "guest-shutdown",
                                           "guest-network-get-interfaces",
                                           "guest-get-fsinfo",
                                           "guest-get-host-name",
                                           "guest-get-users",
                                           "guest-get-timezone",
                                           "guest-get-osinfo"};

    for (size_t i = 0; i < ARRAY_SIZE(required); i++)
        if (!json_bool(json_find(json_at(result, "/supported_commands"), "/name", required[i]), "/enabled", false))
            return "This guest agent doesn't support required basic commands";
    return NULL;
}

/* --- Interfaces --- */

static bool is_address(const char *text)
{
    unsigned char buf[sizeof(struct in6_addr)];

    return text && (inet_pton(AF_INET, text, buf) == 1 || inet_pton(AF_INET6, text, buf) == 1);
}

/* Lower case, as the API has them. */
static bool read_mac(const char *text, char buf[18])
{
    if (!text || strlen(text) != 17)
        return false;
    for (size_t i = 0; i < 17; i++) {
        if (i % 3 == 2 ? text[i] != ':' && text[i] != '-' : !isxdigit((unsigned char)text[i]))
            return false;
        buf[i] = i % 3 == 2 ? ':' : (char)tolower((unsigned char)text[i]);
    }
    buf[17] = '\0';
    return true;
}

static yyjson_mut_val *addresses(yyjson_mut_doc *d, yyjson_val *from)
{
    yyjson_mut_val *list = yyjson_mut_arr(d);
    yyjson_val *item;

    json_each(json_at(from, "/ip-addresses"), item) {
        const char *text = json_str(item, "/ip-address");
        if (is_address(text) && yyjson_mut_arr_size(list) < ADDRESSES)
            yyjson_mut_arr_add_strcpy(d, list, text);
    }
    return list;
}

yyjson_mut_val *answer_interfaces(yyjson_mut_doc *d, yyjson_val *result)
{
    yyjson_mut_val *list = yyjson_mut_arr(d);
    yyjson_val *item;
    char mac[18];

    json_each(result, item) {
        if (streq(json_str_or(item, "/name", "lo"), "lo"))
            continue;
        if (yyjson_mut_arr_size(list) == INTERFACES)
            break;
        yyjson_mut_val *nic = yyjson_mut_arr_add_obj(d, list);
        put(nic, d, "interfaceName", answer_text(d, item, "/name"));
        if (read_mac(json_str(item, "/hardware-address"), mac))
            put(nic, d, "mac", yyjson_mut_strcpy(d, mac));
        put(nic, d, "ipAddresses", addresses(d, item));
    }
    return list;
}

/* --- Users and file systems --- */

yyjson_mut_val *answer_users(yyjson_mut_doc *d, yyjson_val *result, size_t max)
{
    yyjson_mut_val *list = yyjson_mut_arr(d);
    yyjson_val *item;

    json_each(result, item) {
        if (yyjson_mut_arr_size(list) == max)
            break;
        double time = yyjson_get_num(json_at(item, "/login-time"));
        yyjson_mut_val *user = yyjson_mut_arr_add_obj(d, list);
        put_text(user, d, "userName", item, "/user");
        put(user, d, "domain", answer_text(d, item, "/domain"));
        if (time > 0)
            put(user, d, "loginTime", yyjson_mut_real(d, time));
    }
    return list;
}

static yyjson_mut_val *disks(yyjson_mut_doc *d, yyjson_val *from)
{
    yyjson_mut_val *list = yyjson_mut_arr(d);
    yyjson_val *item;

    json_each(from, item) {
        if (yyjson_mut_arr_size(list) == DISKS)
            break;
        yyjson_mut_val *disk = yyjson_mut_arr_add_obj(d, list);
        put(disk, d, "serial", answer_text(d, item, "/serial"));
        put_text(disk, d, "busType", item, "/bus-type");
    }
    return yyjson_mut_arr_size(list) ? list : NULL;
}

yyjson_mut_val *answer_filesystems(yyjson_mut_doc *d, yyjson_val *result, size_t max)
{
    yyjson_mut_val *list = yyjson_mut_arr(d);
    yyjson_val *item;

    json_each(result, item) {
        if (yyjson_mut_arr_size(list) == max)
            break;
        yyjson_mut_val *fs = yyjson_mut_arr_add_obj(d, list);
        put_text(fs, d, "diskName", item, "/name");
        put_text(fs, d, "mountPoint", item, "/mountpoint");
        put_text(fs, d, "fileSystemType", item, "/type");
        put_size(fs, d, "usedBytes", item, "/used-bytes");
        put_size(fs, d, "totalBytes", item, "/total-bytes");
        put(fs, d, "disk", disks(d, json_at(item, "/disk")));
    }
    return list;
}
