/* A minimal ProxyCommand as a baseline: relay HOST PORT [--until-newkeys].
 *
 * It connects to a numeric address, sets TCP_NODELAY before the first byte, copies both directions and exits when the
 * server closes the connection. With --until-newkeys it writes "newkeys" to stderr and exits as soon as the client has
 * sent SSH_MSG_NEWKEYS. Up to that message the client sends clear text (RFC 4253: a version line, then packets of a
 * length, a padding length and a payload whose first byte is the message number). */
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NEWKEYS = 21 };

static int write_all(int fd, const char *bytes, ssize_t count)
{
    while (count > 0) {
        ssize_t written = write(fd, bytes, count);
        if (written <= 0)
            return 0;
        bytes += written;
        count -= written;
    }
    return 1;
}

/* Whether the next bytes from the client contain SSH_MSG_NEWKEYS. */
static int newkeys(const char *bytes, ssize_t count)
{
    static int in_version = 1;
    static uint32_t at, length;

    for (ssize_t i = 0; i < count; i++) {
        unsigned char byte = bytes[i];
        if (in_version) {
            in_version = byte != '\n';
            continue;
        }
        if (at < 4)
            length = length << 8 | byte;
        if (at == 5 && byte == NEWKEYS)
            return 1;
        at = at + 1 == 4 + length && at >= 4 ? 0 : at + 1;
        if (at == 0)
            length = 0;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static char buffer[65536];
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM }, *address;
    int yes = 1;

    if (argc < 3 || getaddrinfo(argv[1], argv[2], &hints, &address) != 0)
        return 2;
    int until_newkeys = argc > 3 && strcmp(argv[3], "--until-newkeys") == 0;
    int remote = socket(address->ai_family, SOCK_STREAM, 0);
    if (remote < 0 || connect(remote, address->ai_addr, address->ai_addrlen) != 0)
        return 1;
    setsockopt(remote, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct pollfd ends[2] = { { .fd = 0, .events = POLLIN }, { .fd = remote, .events = POLLIN } };
    for (;;) {
        if (poll(ends, 2, -1) < 0)
            return 1;
        if (ends[1].revents) {
            ssize_t count = read(remote, buffer, sizeof buffer);
            if (count <= 0 || !write_all(1, buffer, count))
                return 0;
        }
        if (ends[0].revents) {
            ssize_t count = read(0, buffer, sizeof buffer);
            if (count <= 0) {
                shutdown(remote, SHUT_WR);
                ends[0].fd = -1;
            } else if (until_newkeys && newkeys(buffer, count)) {
                return !write_all(2, "newkeys\n", 8);
            } else if (!write_all(remote, buffer, count)) {
                return 0;
            }
        }
    }
}
