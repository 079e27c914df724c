#include "base/unix.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"

/* Fills addr for path. A path that is too long gets "/proc/self/fd/N/NAME"; N is returned in ret_folder and must stay
 * open while the address is in use. */
static int address_of(const char *path, struct sockaddr_un *addr, int *ret_folder)
{
    *addr = (struct sockaddr_un){.sun_family = AF_UNIX};
    *ret_folder = -1;
    if (strlen(path) < sizeof(addr->sun_path)) {
        memcpy(addr->sun_path, path, strlen(path) + 1);
        return 0;
    }
    _cleanup_free_ char *folder = xstrdup(path), *name = xstrdup(path);
    int fd = open(dirname(folder), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int n = snprintf(addr->sun_path, sizeof(addr->sun_path), "/proc/self/fd/%d/%s", fd, basename(name));
    if (n >= (int)sizeof(addr->sun_path)) {
        close(fd);
        return -ENAMETOOLONG;
    }
    *ret_folder = fd;
    return 0;
}

int unix_connect(const char *path)
{
    struct sockaddr_un addr;
    _cleanup_close_ int folder = -1, fd = -1;
    int r = address_of(path, &addr, &folder);

    if (r < 0)
        return r;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        return -errno;
    return TAKE_FD(fd);
}

int unix_listen(const char *path, mode_t mode, struct gw_error *err)
{
    struct sockaddr_un addr;
    _cleanup_close_ int folder = -1, fd = -1;
    int r = address_of(path, &addr, &folder);

    if (r < 0)
        return gw_error_errno(err, r, "socket %s", path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return gw_error_errno(err, errno, "socket %s", path);
    (void)unlink(addr.sun_path);
    if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || chmod(addr.sun_path, mode) < 0 || listen(fd, 16) < 0)
        return gw_error_errno(err, errno, "socket %s", path);
    return TAKE_FD(fd);
}
