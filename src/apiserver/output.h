/* How objects look on the wire: as themselves, as rows of a Table, or as their metadata alone. */
#pragma once

#include "api/kind.h"
#include "apiserver/request.h"
#include "base/str.h"
#include "http/uri.h"

enum output_type { OUTPUT_OBJECT, OUTPUT_TABLE, OUTPUT_PARTIAL };
enum output_include { INCLUDE_METADATA, INCLUDE_OBJECT, INCLUDE_NONE };

struct output_form {
    enum output_type type;
    enum output_include include; /* what a Table's rows carry */
    bool beta;                   /* meta.k8s.io/v1beta1 was asked for */
    bool yaml;                   /* written so in the end (render.h) */
};

/* Picks the form from an Accept header (NULL: anything goes) and the includeObject parameter. NotAcceptable when
 * nothing that the client takes can be given. */
int output_negotiate(const char *accept, const struct http_uri *uri, struct output_form *ret, struct gw_error *err);

/* Whether the first type of the header that can be given is YAML. */
bool output_wants_yaml(const char *accept);

/* Everything about a kind that its encoded objects depend on. */
struct output_kind {
    const struct kind *kind;
    const char *version;
    int64_t now; /* for ages in tables */
};

/* The bytes before those of a stored object from OBJECT_SKIP on. revision 0: an object that is not stored. */
void output_head(struct str *out, const struct output_kind *k, int64_t revision);

/* A stored object as an answer of its own in that form, and the same appended to text. */
void output_object(struct api_parts *out, const struct output_kind *k, const struct output_form *f, struct blob *stored,
                   int64_t revision);

/* One element of a list in that form: a row of a table, else an object. Not for OUTPUT_OBJECT. */
int output_element(struct str *out, const struct output_kind *k, const struct output_form *f, const struct blob *stored,
                   int64_t revision, struct gw_error *err);

/* What stands before the elements: up to and with the opening '['. definitions: whether a table names its columns. */
struct output_list {
    int64_t revision;
    const char *next;  /* token for the rest, NULL = none */
    int64_t remaining; /* items left out, 0 = none or not known */
    bool definitions;
};
void output_list_head(struct str *out, const struct output_kind *k, const struct output_form *f,
                      const struct output_list *l);
#define OUTPUT_LIST_TAIL "]}"
