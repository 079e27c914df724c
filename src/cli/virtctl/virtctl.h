/* The verbs of KubeVirt's virtctl: the same arguments, requests, texts and exit codes. */
#pragma once

#include "cli/api.h"
#include "cli/virtctl/flags.h"

/* One call of it. Texts belong to argv. */
struct virtctl {
    struct cli_api api;
    struct command_line line;
    const char *ns;
    const struct verb *verb;
    char **args; /* as many as the verb takes */
    size_t n_args;
};

/* 0 after printing what there is to say, or negative with the whole text for the user in err. */
typedef int virtctl_fn(struct virtctl *v, struct gw_error *err);

/* A row of the tables below. What a verb does, takes and says of itself is all here. */
struct verb {
    const char *name;                   /* "start", "create vm"; NULL ends a table */
    const char *args;                   /* its arguments, in the line of usage */
    const char *help, *more, *examples; /* a line; paragraphs behind it, lines "  # what\n  virtctl ..."; or NULL */
    const struct flag *flags;           /* or NULL */
    const char *const *exclusive;       /* rows for command_line_exclusive(), the last NULL; or NULL */
    const char *refused;                /* why Godwit has nothing for it: all that it says */
    virtctl_fn *run;                    /* NULL: a word that only stands before others */
    size_t n_args;
    bool at_least; /* n_args or more of them */
    bool any_args; /* whatever comes */
    bool local;    /* needs no server */
};

/* Each next to its functions. */
extern const struct verb vm_verbs[], guest_verbs[], volume_verbs[], info_verbs[], console_verbs[], vnc_verbs[],
    port_forward_verbs[], ssh_verbs[], adm_verbs[], expose_verbs[], create_verbs[], help_verbs[], completion_verbs[],
    absent_verbs[];

/* What all verbs take besides. */
extern const struct flag virtctl_common[];
/* The client and the namespace, for verbs that are `local` in general. */
int virtctl_open(struct virtctl *v, struct gw_error *err);

/* PUT to (or, with method "GET", reading of) subresources.kubevirt.io: resource is "virtualmachines" or
 * "virtualmachineinstances". body and ret may be NULL. */
int virtctl_sub(struct virtctl *v, const char *method, const char *resource, const char *name, const char *sub,
                yyjson_mut_doc *body, yyjson_doc **ret, struct gw_error *err);

/* Puts text before the message of a failure, as it is. Returns r. */
int virtctl_fail(struct gw_error *err, int r, const char *fmt, ...) _printf_(3, 4);

/* The option that virtctl_options() reads. */
#define DRY_RUN \
    { \
        .name = "dry-run", .kind = FLAG_BOOL, .help = "let the server check the request, and change nothing" \
    }

/* An empty object, or with --dry-run {"dryRun":["All"]} and a word of it. Caller frees. */
yyjson_mut_doc *virtctl_options(const struct virtctl *v);

/* "vm", "VMS", "virtualmachine"...: 0 for VMs, 1 for VMIs, -1 for anything else. */
int virtctl_kind(const char *word);
