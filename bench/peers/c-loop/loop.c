/* The floor: what a broadcast costs when nothing is done but reading it and sending it on. One epoll loop; a message is
 * sent to everybody in its room by one send() each, at once. The path is the room. Who does not read fast enough for the
 * kernel's buffer is let go, and a frame from a client is at most BUFFER bytes: there are no queues, no rights, no log.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 65536, HEAD = 4, EVENTS = 256, CONNECTIONS = 65536, ROOMS = 16384, NAME = 32, CLOSE = 8, PING = 9 };

struct room {
    char name[NAME];
    int *members, count, space;
};

struct connection {
    struct room *room; /* NULL until the handshake */
    int place;         /* in the room's members */
    int size;          /* bytes in rest */
    unsigned char *rest;
};

static struct room rooms[ROOMS];
static struct connection connections[CONNECTIONS]; /* by descriptor */
static int poller;

static struct room *room_named(const char *name, size_t size) {
    unsigned hash = 5381;
    size = size < NAME ? size : NAME - 1;
    for (size_t i = 0; i < size; i++) hash = hash * 33 + (unsigned char)name[i];
    for (unsigned i = hash % ROOMS;; i = (i + 1) % ROOMS) {
        if (!rooms[i].name[0]) return memcpy(rooms[i].name, name, size), &rooms[i];
        if (strlen(rooms[i].name) == size && !memcmp(rooms[i].name, name, size)) return &rooms[i];
    }
}

static void join(int fd, struct room *room) {
    if (room->count == room->space) {
        room->space = room->space ? 2 * room->space : 4;
        room->members = realloc(room->members, room->space * sizeof(int));
    }
    connections[fd].room = room;
    connections[fd].place = room->count;
    room->members[room->count++] = fd;
}

static void leave(int fd) {
    struct connection *gone = &connections[fd];
    if (gone->room) {
        int last = gone->room->members[--gone->room->count];
        gone->room->members[gone->place] = last;
        connections[last].place = gone->place;
    }
    free(gone->rest);
    memset(gone, 0, sizeof *gone);
    close(fd);
}

/* From the last to the first: leave() puts the last member in the place of the one that goes. */
static void publish(struct room *room, const unsigned char *frame, size_t size) {
    for (int i = room->count - 1; i >= 0; i--)
        if (send(room->members[i], frame, size, MSG_NOSIGNAL) != (ssize_t)size) leave(room->members[i]);
}

/* SHA-1 (RFC 3174) of the at most 119 bytes of a key and the protocol's GUID. */
static void sha1(const char *text, uint32_t digest[5]) {
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0}, w[80], padded[32] = {0};
    size_t size = strlen(text), blocks = size < 56 ? 1 : 2;
    memcpy(padded, text, size);
    ((unsigned char *)padded)[size] = 0x80;
    padded[16 * blocks - 1] = htobe32(8 * size);
    for (size_t block = 0; block < blocks; block++) {
        uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
        for (int t = 0; t < 80; t++) {
            uint32_t x = t < 16 ? be32toh(padded[16 * block + t])
                                : w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16];
            w[t] = t < 16 ? x : x << 1 | x >> 31;
            uint32_t f = t < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                         : t < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                         : t < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                                  : (b ^ c ^ d) + 0xca62c1d6;
            uint32_t next = (a << 5 | a >> 27) + f + e + w[t];
            e = d, d = c, c = b << 30 | b >> 2, b = a, a = next;
        }
        h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
    }
    for (int i = 0; i < 5; i++) digest[i] = htobe32(h[i]);
}

/* What RFC 6455, section 4.2.2, makes of a key: 28 letters of base64. */
static void accept_key(const char *key, int size, char answer[29]) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t digest[6] = {0};
    const unsigned char *bytes = (const unsigned char *)digest;
    char text[120];
    snprintf(text, sizeof text, "%.*s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", size < 64 ? size : 64, key);
    sha1(text, digest);
    for (int i = 0; i < 7; i++) {
        uint32_t three = bytes[3 * i] << 16 | bytes[3 * i + 1] << 8 | bytes[3 * i + 2];
        for (int j = 0; j < 4; j++) answer[4 * i + j] = letters[three >> (18 - 6 * j) & 63];
    }
    answer[27] = '=', answer[28] = 0;
}

/* Takes the request; returns how many bytes it had, 0 where it is not whole yet, -1 where it is none. */
static int greet(int fd, char *data, int size) {
    char *end = memmem(data, size, "\r\n\r\n", 4), answer[29], response[160];
    if (!end) return 0;
    *end = 0;
    char *key = strcasestr(data, "\r\nSec-WebSocket-Key:");
    if (strncmp(data, "GET /", 5) || !key) return -1;
    key += strlen("\r\nSec-WebSocket-Key:");
    key += strspn(key, " ");
    accept_key(key, strcspn(key, " \r"), answer);
    int length = snprintf(response, sizeof response,
                          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Accept: %s\r\n\r\n", answer);
    if (send(fd, response, length, MSG_NOSIGNAL) != length) return -1;
    join(fd, room_named(data + 4, strcspn(data + 4, " ")));
    return end + 4 - data;
}

/* Takes one frame and sends it on, unmasked; returns as greet() does. */
static int take(int fd, unsigned char *data, int size) {
    int length = size < 2 ? 0 : data[1] & 127, head = length == 126 ? 8 : 6;
    if (size < head) return 0;
    if (length == 127 || (data[0] & 15) == CLOSE || !(data[1] & 128)) return -1;
    if (length == 126) length = data[2] << 8 | data[3];
    if (size < head + length) return 0;
    unsigned char *mask = data + head - 4, frame[HEAD + BUFFER];
    int long_form = length > 125, start = long_form ? 4 : 2;
    frame[0] = data[0];
    frame[1] = long_form ? 126 : length;
    if (long_form) frame[2] = length >> 8, frame[3] = length;
    for (int i = 0; i < length; i++) frame[start + i] = data[head + i] ^ mask[i & 3];
    if ((data[0] & 15) < CLOSE) publish(connections[fd].room, frame, start + length);
    return head + length;
}

static void readable(int fd) {
    static unsigned char buffer[2 * BUFFER];
    struct connection *from = &connections[fd];
    int size = from->size, at = 0, taken = 1;
    if (size) memcpy(buffer, from->rest, size);
    ssize_t got = recv(fd, buffer + size, BUFFER, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return leave(fd);
    size += got;
    while (taken > 0 && at < size) {
        taken = from->room ? take(fd, buffer + at, size - at) : greet(fd, (char *)buffer + at, size - at);
        at += taken > 0 ? taken : 0;
        if (taken > 0 && !from->room) return; /* it was let go while it was sent its own message */
    }
    if (taken < 0 || size - at > BUFFER) return leave(fd);
    from->size = size - at;
    if (from->size) from->rest = memcpy(from->rest ? from->rest : malloc(BUFFER), buffer + at, from->size);
}

static void watch(int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

int main(void) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(atoi(getenv("PORT")))};
    struct rlimit files = {CONNECTIONS, CONNECTIONS};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;
    setrlimit(RLIMIT_NOFILE, &files);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    inet_pton(AF_INET, "127.0.0.1", &here.sin_addr);
    if (bind(listener, (void *)&here, sizeof here) || listen(listener, 4096)) return perror("PORT"), 1;
    poller = epoll_create1(0);
    watch(listener);
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd != listener) {
                readable(fd);
                continue;
            }
            while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                watch(fd);
            }
        }
    }
}
