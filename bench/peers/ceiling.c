/* The ceiling: receives and writes with nothing around it, as much TUS as the load generator needs.
 *
 * ceiling PORT DIRECTORY SYNC: a thread for each connection, one buffer, recv and pwrite. With SYNC=1 it syncs as the
 * service does: after every 64 MiB, while receiving goes on, and at the end the rest and the name. Nothing is checked,
 * nothing is remembered, nothing would survive: what a server that does more cannot be expected to beat by much.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 1 << 20, HEAD_MAX = 1 << 16 };
static const long long CHECKPOINT = 64LL << 20;

static int directory, syncing;
static atomic_long numbers;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void *sync_file(void *file) {
    if (fdatasync((int)(long)file)) fail("fdatasync");
    return NULL;
}

static void write_all(int file, const char *bytes, long long count, long long offset) {
    while (count > 0) {
        ssize_t written = pwrite(file, bytes, count, offset);
        if (written <= 0) fail("pwrite");
        bytes += written, count -= written, offset += written;
    }
}

/* `bytes` has the first `have` of `length` bytes of a body. */
static int receive(int peer, const char *name, char *bytes, long long have, long long length, long long offset) {
    int file = openat(directory, name, O_WRONLY | O_CREAT, 0666), running = 0;
    long long received = 0, synced = 0;
    pthread_t sync;
    if (file < 0) fail("open");
    for (;;) {
        write_all(file, bytes, have, offset + received);
        received += have;
        if (syncing && received - synced >= CHECKPOINT && received < length) {
            if (running) pthread_join(sync, NULL);
            if (pthread_create(&sync, NULL, sync_file, (void *)(long)file)) fail("thread");
            running = 1, synced = received;
        }
        if (received == length) break;
        have = recv(peer, bytes, length - received < BUFFER ? length - received : BUFFER, 0);
        if (have <= 0) break;
    }
    if (running) pthread_join(sync, NULL);
    if (syncing && (fdatasync(file) || fsync(directory))) fail("fsync");
    close(file);
    return received == length;
}

static long long number(const char *head, const char *field) {
    const char *at = strcasestr(head, field);
    return at ? atoll(at + strlen(field)) : 0;
}

/* Answers the request whose head begins `buffer`; 0: the connection is over. */
static int answer(int peer, char *buffer, long long have, char *body) {
    char name[64], line[256], said[256];
    long long length = number(buffer, "\r\nContent-Length:"), offset = number(buffer, "\r\nUpload-Offset:");
    if (!strncmp(buffer, "POST", 4)) {
        long mine = atomic_fetch_add(&numbers, 1);
        snprintf(said, sizeof said, "201 Created\r\nLocation: /files/%ld\r\nContent-Length: 0", mine);
    } else {
        snprintf(line, sizeof line, "%.255s", buffer);
        const char *at = strstr(line, "/files/");
        if (!at || sscanf(at + 7, "%63[0-9]", name) != 1) return 0;
        if (!receive(peer, name, body, have, length, offset)) return 0;
        snprintf(said, sizeof said, "204 No Content\r\nUpload-Offset: %lld", offset + length);
    }
    char out[512];
    int count = snprintf(out, sizeof out, "HTTP/1.1 %s\r\nTus-Resumable: 1.0.0\r\n\r\n", said);
    return send(peer, out, count, MSG_NOSIGNAL) == count;
}

static void *serve(void *argument) {
    int peer = (int)(long)argument, one = 1;
    char *buffer = malloc(BUFFER + 1);
    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    for (int open = 1; open;) {
        long long have = 0;
        char *end = NULL;
        while (!end && have < HEAD_MAX) {
            ssize_t more = recv(peer, buffer + have, HEAD_MAX - have, 0);
            if (more <= 0) goto over;
            buffer[have += more] = 0;
            end = memmem(buffer, have, "\r\n\r\n", 4);
        }
        if (!end) goto over;
        /* The head is copied off, for the body needs the buffer. */
        char head[4096];
        snprintf(head, sizeof head, "%.*s", (int)(end - buffer), buffer);
        have -= end + 4 - buffer;
        memmove(buffer, end + 4, have);
        open = answer(peer, head, have, buffer);
    }
over:
    free(buffer);
    close(peer);
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 4) return 2;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    directory = open(arguments[2], O_RDONLY | O_DIRECTORY);
    syncing = atoi(arguments[3]);
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (directory < 0 || bind(listener, (void *)&address, sizeof address) || listen(listener, 1024)) fail("start");
    for (;;) {
        pthread_t thread;
        int peer = accept(listener, NULL, NULL);
        if (peer < 0 || pthread_create(&thread, NULL, serve, (void *)(long)peer)) fail("accept");
        pthread_detach(thread);
    }
}
