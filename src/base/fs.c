#define _XOPEN_SOURCE 700
#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/str.h"

#define DEFAULT_MAX (64UL << 20)

static int read_fd(int fd, const char *path, size_t max, char **ret, size_t *ret_len, struct gw_error *err)
{
    _cleanup_str_ struct str text = {0};
    ssize_t n;

    do {
        str_reserve(&text, 8192);
        n = read(fd, text.data + text.len, text.capacity - text.len - 1);
        if (n < 0 && errno != EINTR)
            return gw_error_errno(err, errno, "cannot read %s", path);
        text.len += n > 0 ? (size_t)n : 0;
        if (text.len > (max ? max : DEFAULT_MAX))
            return gw_error_errno(err, EFBIG, "cannot read %s", path);
    } while (n != 0);
    if (ret_len)
        *ret_len = text.len;
    *ret = str_take(&text);
    return 0;
}

int fs_read(const char *path, size_t max, char **ret, size_t *ret_len, struct gw_error *err)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

    return fd < 0 ? gw_error_errno(err, errno, "cannot open %s", path) : read_fd(fd, path, max, ret, ret_len, err);
}

int fs_read_secret(const char *path, size_t max, char **ret, size_t *ret_len, struct gw_error *err)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return gw_error_errno(err, errno, "cannot open %s", path);
    if (S_ISREG(st.st_mode) && (st.st_mode & 077)) {
        (void)gw_error_set(
            err, GW_FORBIDDEN,
            "%s holds a secret, but its mode %04o lets others at it: chmod 600 it, and replace the secret "
            "if somebody may have read it",
            path, st.st_mode & 07777);
        return -EPERM;
    }
    return read_fd(fd, path, max, ret, ret_len, err);
}

bool fs_is_shared(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077);
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static int sync_folder_of(const char *path)
{
    _cleanup_free_ char *copy = xstrdup(path);
    _cleanup_close_ int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int fs_write(const char *path, const void *data, size_t len, mode_t mode, struct gw_error *err)
{
    _cleanup_free_ char *temporary = xasprintf("%s.new-XXXXXX", path);
    _cleanup_close_ int fd = mkostemp(temporary, O_CLOEXEC);
    int r;

    if (fd < 0)
        return gw_error_errno(err, errno, "cannot write %s", path);
    r = write_all(fd, data, len);
    if (r == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0 || rename(temporary, path) < 0))
        r = -errno;
    if (r < 0) {
        (void)unlink(temporary);
        return gw_error_errno(err, r, "cannot write %s", path);
    }
    r = sync_folder_of(path);
    return r < 0 ? gw_error_errno(err, r, "cannot sync the folder of %s", path) : 0;
}

int fs_mkdirs(const char *path, mode_t mode, struct gw_error *err)
{
    _cleanup_free_ char *copy = xstrdup(path);

    for (char *p = copy + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(copy, mode) < 0 && errno != EEXIST)
            return gw_error_errno(err, errno, "cannot make %s", copy);
        *p = '/';
    }
    if (mkdir(copy, mode) < 0 && errno != EEXIST)
        return gw_error_errno(err, errno, "cannot make %s", copy);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

int fs_remove_tree(const char *path, struct gw_error *err)
{
    if (nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0 && errno != ENOENT)
        return gw_error_errno(err, errno, "cannot remove %s", path);
    return 0;
}

bool fs_exists(const char *path)
{
    return access(path, F_OK) == 0;
}
