/* The files under kinds/, as they lie in the executable. */
#pragma once

struct embedded_file {
    const char *name; /* "virtualmachines.kubevirt.io.yaml", "defs/objectmeta.yaml" */
    const char *start;
    const char *end;
};

extern const struct embedded_file embedded_kinds[]; /* ends with a row without name */
