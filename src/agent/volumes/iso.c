/* Layout (ECMA-119), in sectors of 2048 bytes:
 *   0-15 empty   16 primary descriptor   17 Joliet descriptor   18 end of descriptors
 *   19, 20 path tables (little and big endian)   21, 22 the same for Joliet
 *   23 root folder   24 root folder, Joliet   25... files, each from a sector's begin
 * Both trees point to the same files. */
#include "agent/volumes/iso.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

#define SECTOR 2048
#define FIRST_FILE 25

enum { PRIMARY = 16, JOLIET, END, TABLE_L, TABLE_M, JOLIET_L, JOLIET_M, ROOT, JOLIET_ROOT };

static void put_le(unsigned char *p, uint32_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        p[i] = (unsigned char)(v >> (8 * i));
}

static void put_be(unsigned char *p, uint32_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        p[i] = (unsigned char)(v >> (8 * (bytes - 1 - i)));
}

/* Both byte orders, one after the other (ECMA-119, 7.2.3 and 7.3.3). */
static void put_both(unsigned char *p, uint32_t v, int bytes)
{
    put_le(p, v, bytes);
    put_be(p + bytes, v, bytes);
}

static uint32_t sectors_of(size_t len)
{
    return (uint32_t)((len + SECTOR - 1) / SECTOR);
}

/* A directory record; returns its length. */
static size_t put_record(unsigned char *p, uint32_t sector, uint32_t len, int folder, const unsigned char *name,
                         size_t name_len)
{
    size_t size = 33 + name_len + (name_len % 2 == 0);

    memset(p, 0, size);
    p[0] = (unsigned char)size;
    put_both(p + 2, sector, 4);
    put_both(p + 10, len, 4);
    p[25] = folder ? 2 : 0;
    put_both(p + 28, 1, 2);
    p[32] = (unsigned char)name_len;
    memcpy(p + 33, name, name_len);
    return size;
}

/* UCS-2, big endian. */
static size_t to_joliet(const char *name, unsigned char *out)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < n; i++)
        put_be(out + 2 * i, (unsigned char)name[i], 2);
    return 2 * n;
}

/* Upper case and a version. '-' is beyond the standard's letters, but every reader takes it. */
static size_t to_primary(const char *name, unsigned char *out)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)toupper((unsigned char)name[i]);
    memcpy(out + n, ";1", 2);
    return n + 2;
}

static void put_root(unsigned char *sector, uint32_t self, int joliet, const struct iso_file *files, size_t n)
{
    unsigned char name[64];
    uint32_t at = FIRST_FILE;
    size_t used = put_record(sector, self, SECTOR, 1, (const unsigned char *)"\0", 1);

    used += put_record(sector + used, self, SECTOR, 1, (const unsigned char *)"\1", 1);
    for (size_t i = 0; i < n; i++) {
        size_t len = joliet ? to_joliet(files[i].name, name) : to_primary(files[i].name, name);
        used += put_record(sector + used, at, (uint32_t)files[i].len, 0, name, len);
        at += sectors_of(files[i].len);
    }
}

/* One record, for the root: 1 byte length of its name, 4 sector, 2 parent, name 0. */
static void put_path_table(unsigned char *sector, uint32_t root, int big_endian)
{
    sector[0] = 1;
    (big_endian ? put_be : put_le)(sector + 2, root, 4);
    (big_endian ? put_be : put_le)(sector + 6, 1, 2);
}

static void put_text(unsigned char *p, size_t room, const char *text, int joliet)
{
    for (size_t i = 0; i < room; i++)
        p[i] = joliet ? (i % 2 ? ' ' : 0) : ' ';
    for (size_t i = 0; text[i] && (i + 1) * (joliet ? 2 : 1) <= room; i++)
        p[joliet ? 2 * i + 1 : i] = (unsigned char)text[i];
}

static void put_descriptor(unsigned char *s, int joliet, const char *label, uint32_t total)
{
    /* ECMA-119, 8.4: fields of text, from (byte - 1) */
    static const struct {
        unsigned at, len;
    } texts[] = {{8, 32}, {190, 128}, {318, 128}, {446, 128}, {574, 128}, {702, 37}, {739, 37}, {776, 37}};
    static const unsigned times[] = {813, 830, 847, 864};

    s[0] = joliet ? 2 : 1;
    memcpy(s + 1, "CD001\1", 6);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        put_text(s + texts[i].at, texts[i].len, "", joliet);
    put_text(s + 40, 32, label, joliet);
    put_both(s + 80, total, 4);
    if (joliet)
        memcpy(s + 88, "%/E", 3); /* UCS-2 level 3 */
    put_both(s + 120, 1, 2);
    put_both(s + 124, 1, 2);
    put_both(s + 128, SECTOR, 2);
    put_both(s + 132, 10, 4);
    put_le(s + 140, joliet ? JOLIET_L : TABLE_L, 4);
    put_be(s + 148, joliet ? JOLIET_M : TABLE_M, 4);
    put_record(s + 156, joliet ? JOLIET_ROOT : ROOT, SECTOR, 1, (const unsigned char *)"\0", 1);
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
        memset(s + times[i], '0', 16); /* "not specified" */
    s[881] = 1;
}

void iso_write(const char *label, const struct iso_file *files, size_t n, struct str *out)
{
    uint32_t total = FIRST_FILE;
    size_t begin = out->len;

    for (size_t i = 0; i < n; i++)
        total += sectors_of(files[i].len);
    str_reserve(out, (size_t)total * SECTOR);
    memset(out->data + begin, 0, (size_t)total * SECTOR);
    out->len += (size_t)total * SECTOR;
    unsigned char *s = (unsigned char *)out->data + begin, *at = s + FIRST_FILE * SECTOR;
    put_descriptor(s + PRIMARY * SECTOR, 0, label, total);
    put_descriptor(s + JOLIET * SECTOR, 1, label, total);
    memcpy(s + END * SECTOR, "\377CD001\1", 7);
    put_path_table(s + TABLE_L * SECTOR, ROOT, 0);
    put_path_table(s + TABLE_M * SECTOR, ROOT, 1);
    put_path_table(s + JOLIET_L * SECTOR, JOLIET_ROOT, 0);
    put_path_table(s + JOLIET_M * SECTOR, JOLIET_ROOT, 1);
    put_root(s + ROOT * SECTOR, ROOT, 0, files, n);
    put_root(s + JOLIET_ROOT * SECTOR, JOLIET_ROOT, 1, files, n);
    for (size_t i = 0; i < n; i++) {
        if (files[i].len)
            memcpy(at, files[i].data, files[i].len);
        at += (size_t)sectors_of(files[i].len) * SECTOR;
    }
}
