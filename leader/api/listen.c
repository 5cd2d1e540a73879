/* listen.c - the listening socket, made here so that its errors can be told precisely. */
#include "leader/api/api_impl.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

int hd_api_listen(const struct sockaddr *addr, int *out, struct hd_error *err)
{
    if (addr->sa_family != AF_INET && addr->sa_family != AF_INET6)
        return hd_fail(err, HD_E_UNSUPPORTED, "HTTP listens on IPv4 and IPv6 addresses only");
    socklen_t len =
        addr->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    int on = 1;
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return hd_fail(err, HD_E_IO, "HTTP: cannot make a socket: %s", strerror(errno));
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 || bind(fd, addr, len) < 0 ||
        listen(fd, SOMAXCONN) < 0) {
        hd_fail(err, HD_E_IO, "HTTP: cannot listen: %s; choose another address or port",
                strerror(errno));
        close(fd);
        return HD_E_IO;
    }
    *out = fd;
    return 0;
}
