#include "agent/launcher/rotated.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"

static int reopen(struct rotated *f)
{
    struct stat st;

    f->fd = open(f->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (f->fd < 0 || fstat(f->fd, &st) < 0)
        return -errno;
    f->size = st.st_size;
    return 0;
}

int rotated_open(struct rotated *f, const char *path, int64_t max)
{
    *f = (struct rotated){.fd = -1, .path = xstrdup(path), .max = max};
    return reopen(f);
}

void rotated_write(struct rotated *f, const char *data, size_t len)
{
    if (f->fd < 0)
        return;
    if (f->size + (int64_t)len > f->max) {
        _cleanup_free_ char *old = xasprintf("%s.1", f->path);
        close(f->fd);
        (void)rename(f->path, old);
        if (reopen(f) < 0)
            return;
    }
    if (write(f->fd, data, len) > 0)
        f->size += (int64_t)len;
}
