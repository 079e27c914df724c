#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

#include "http/http_internal.h"

/* Returns the length of the socket address. */
static int parse_address(const char *address, uint16_t port, struct sockaddr_storage *ret, struct gw_error *err)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;

    *ret = (struct sockaddr_storage){0};
    if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        return sizeof(*v4);
    }
    if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        return sizeof(*v6);
    }
    return gw_error_set(err, GW_INVALID, "cannot listen on \"%s\": not an IP address", address);
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage a = {0};
    socklen_t len = sizeof(a);

    (void)getsockname(fd, (struct sockaddr *)&a, &len);
    return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port
                                         : ((struct sockaddr_in *)&a)->sin_port);
}

int socket_listen(const char *address, uint16_t port, uint16_t *ret_port, struct gw_error *err)
{
    struct sockaddr_storage a;
    _cleanup_close_ int fd = -1;
    int on = 1, off = 0, len = parse_address(address, port, &a, err);

    if (len < 0)
        return len;
    fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return gw_error_errno(err, errno, "cannot listen on %s port %u", address, port);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (a.ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, (struct sockaddr *)&a, (socklen_t)len) < 0 || listen(fd, 1024) < 0)
        return gw_error_errno(err, errno, "cannot listen on %s port %u", address, port);
    *ret_port = port_of(fd);
    return TAKE_FD(fd);
}

void http_tune(int fd)
{
    static const struct {
        int level, option, value;
    } options[] = {
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, 30},  /* s */
        {IPPROTO_TCP, TCP_KEEPINTVL, 10}, /* s */
        {IPPROTO_TCP, TCP_KEEPCNT, 3},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, 60000}, /* ms that sent data may stay unacknowledged */
    };

    for (size_t i = 0; i < ARRAY_SIZE(options); i++)
        (void)setsockopt(fd, options[i].level, options[i].option, &options[i].value, sizeof(int));
}
