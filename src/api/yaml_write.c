/* JSON as block YAML, the way kubectl prints objects: two blanks a level, lists not indented below their key. Text that
 * a reader might take for something else is put in double quotes. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "api/yaml.h"
#include "base/alloc.h"
#include "base/str.h"

/* What YAML 1.1 and 1.2 readers take for a boolean or null. */
static bool is_word(const char *text)
{
    static const char *const words[] = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"};

    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (strcasecmp(words[i], text) == 0)
            return true;
    return false;
}

/* Begins with a letter, and goes on with what has no meaning in YAML. */
static bool is_plain(const char *text)
{
    if ((!isalpha((unsigned char)*text) && *text != '/') || is_word(text))
        return false;
    for (const char *p = text; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("-_./@", *p))
            return false;
    return true;
}

/* What YAML allows in a text only as an escape, besides ASCII's own: bytes of UTF-8, and the escape (YAML 1.2, 5.1). */
static const struct {
    const char *bytes, *escape;
} specials[] = {
    {"\"", "\\\""},        {"\\", "\\\\"},        {"\n", "\\n"},         {"\t", "\\t"},         {"\x7f", "\\x7f"},
    {"\u2028", "\\u2028"}, {"\u2029", "\\u2029"}, {"\ufeff", "\\ufeff"}, {"\ufffe", "\\ufffe"}, {"\uffff", "\\uffff"},
};

/* Writes what stands at p and returns its length. */
static size_t write_char(struct str *s, const char *p)
{
    unsigned char c = (unsigned char)p[0], next = c ? (unsigned char)p[1] : 0;

    for (size_t i = 0; i < ARRAY_SIZE(specials); i++)
        if (str_starts(p, specials[i].bytes)) {
            str_puts(s, specials[i].escape);
            return strlen(specials[i].bytes);
        }
    if (c < 0x20) {
        str_printf(s, "\\x%02x", c);
    } else if (c == 0xc2 && next < 0xa0) { /* U+0080 to U+009F */
        str_printf(s, "\\x%02x", next);
        return 2;
    } else {
        str_putc(s, *p);
    }
    return 1;
}

static void write_quoted(struct str *s, const char *text, size_t len)
{
    str_putc(s, '"');
    for (const char *p = text; p < text + len;)
        p += write_char(s, p);
    str_putc(s, '"');
}

static void write_scalar(struct str *s, yyjson_val *v)
{
    if (yyjson_is_str(v) && is_plain(yyjson_get_str(v))) {
        str_puts(s, yyjson_get_str(v));
    } else if (yyjson_is_str(v)) {
        write_quoted(s, yyjson_get_str(v), yyjson_get_len(v));
    } else { /* "{}" and "[]" as well */
        _cleanup_blob_ struct blob *text = json_encode_val(v);
        str_add(s, text->data, text->len);
    }
}

static bool is_empty(yyjson_val *v)
{
    return !yyjson_is_ctn(v) || yyjson_get_len(v) == 0;
}

static void indent(struct str *s, size_t depth)
{
    for (size_t i = 0; i < depth; i++)
        str_puts(s, "  ");
}

static void write_block(struct str *s, yyjson_val *v, size_t depth, bool begun);

static void write_list(struct str *s, yyjson_val *v, size_t depth, bool begun)
{
    yyjson_val *item;

    json_each(v, item) {
        if (!begun)
            indent(s, depth);
        begun = false;
        str_puts(s, "- ");
        write_block(s, item, depth + 1, true);
    }
}

static void write_map(struct str *s, yyjson_val *v, size_t depth, bool begun)
{
    yyjson_val *key, *value;

    json_each_member(v, key, value) {
        if (!begun)
            indent(s, depth);
        begun = false;
        write_scalar(s, key);
        str_puts(s, is_empty(value) ? ": " : ":\n");
        write_block(s, value, yyjson_is_arr(value) ? depth : depth + 1, is_empty(value));
    }
}

/* begun: the line has begun already, behind "- " or "key: ". */
static void write_block(struct str *s, yyjson_val *v, size_t depth, bool begun)
{
    if (is_empty(v)) {
        write_scalar(s, v);
        str_putc(s, '\n');
    } else if (yyjson_is_arr(v)) {
        write_list(s, v, depth, begun);
    } else {
        write_map(s, v, depth, begun);
    }
}

char *yaml_write(yyjson_val *v)
{
    struct str s = {0};

    write_block(&s, v, 0, true);
    return str_take(&s);
}
