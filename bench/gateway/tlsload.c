/* One connection that reads a file over NFS, or asks for its attributes, in the clear or by RPC-with-TLS.
 *
 *   tlsload PORT plain|tls read|getattr DEPTH SECONDS SIZE HANDLE
 *
 * PORT of 127.0.0.1; DEPTH: calls that are under way at a time; SIZE of the file, read over and over by 1 MiB; HANDLE in
 * hex. Prints one line of JSON: calls, bytes and seconds. The server's certificate is not looked at: this measures.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MIB (1u << 20)

static int sock;
static SSL *ssl;

static void die(const char *why) { fprintf(stderr, "tlsload: %s\n", why); exit(1); }

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void put(const void *data, size_t size) {
    for (const char *p = data; size;) {
        long n = ssl ? SSL_write(ssl, p, size) : write(sock, p, size);
        if (n <= 0) die("the server takes no more");
        p += n; size -= n;
    }
}

/* Received bytes, many replies at a time, so that a small one costs no call of the system. */
static unsigned char *buffer;
static size_t have, at;
static const size_t room = 4 * MIB;

static unsigned char *get(size_t size) {
    if (at + size > room) { memmove(buffer, buffer + at, have - at); have -= at; at = 0; }
    while (have - at < size) {
        long n = ssl ? SSL_read(ssl, buffer + have, room - have) : read(sock, buffer + have, room - have);
        if (n <= 0) die("the server is gone");
        have += n;
    }
    unsigned char *found = buffer + at;
    at += size;
    if (at == have) at = have = 0;
    return found;
}

static uint32_t word(const unsigned char *p) { uint32_t w; memcpy(&w, p, 4); return ntohl(w); }

static unsigned char *add(unsigned char *p, uint32_t w) { w = htonl(w); memcpy(p, &w, 4); return p + 4; }

static void ask(uint32_t xid, uint32_t proc, const unsigned char *fh, uint64_t offset) {
    unsigned char call[256], *p = call + 4;
    uint32_t head[] = {xid, 0, 2, 100003, 3, proc, 0, 0, 0, 0};
    for (int i = 0; i < 10; i++) p = add(p, head[i]);
    p = add(p, 64); memcpy(p, fh, 64); p += 64;
    if (proc == 6) { p = add(p, offset >> 32); p = add(p, offset); p = add(p, MIB); }
    add(call, 0x80000000u | (p - call - 4));
    put(call, p - call);
}

static size_t reply(uint32_t proc) {
    size_t size = word(get(4)) & 0x7fffffff, left = size, data = 0;
    unsigned char *p = get(28);
    if (word(p + 4) != 1 || word(p + 20) || word(p + 24)) die("a call failed");
    left -= 28;
    if (proc == 6) {
        p = get(100);
        data = word(p + 88);
        left -= 100;
    }
    while (left) { size_t n = left < MIB ? left : MIB; get(n); left -= n; }
    return proc == 6 ? data : size;
}

static void secure(void) {
    unsigned char probe[44], *p = probe;
    uint32_t words[] = {0x80000028u, 1, 0, 2, 100003, 3, 0, 7, 0, 0, 0};
    for (int i = 0; i < 11; i++) p = add(p, words[i]);
    put(probe, sizeof probe);
    if (memcmp(get(36) + 24, "STARTTLS", 8)) die("no STARTTLS");
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, 256 << 10);
    SSL *made = SSL_new(context);
    SSL_set_fd(made, sock);
    if (SSL_connect(made) != 1) die("no handshake");
    ssl = made;
}

int main(int argc, char **argv) {
    if (argc != 8) die("PORT plain|tls read|getattr DEPTH SECONDS SIZE HANDLE");
    unsigned char fh[64];
    uint32_t proc = strcmp(argv[3], "read") ? 1 : 6, depth = atoi(argv[4]), asked = 0, answered = 0;
    uint64_t size = strtoull(argv[6], NULL, 10), offset = 0, bytes = 0;
    for (int i = 0; i < 64; i++) { unsigned b; if (sscanf(argv[7] + 2 * i, "%2x", &b) != 1) die("HANDLE"); fh[i] = b; }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(0x7f000001)};
    int one = 1;
    sock = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(sock, (void *)&to, sizeof to)) die("cannot connect");
    setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    buffer = malloc(room);
    if (!strcmp(argv[2], "tls")) secure();
    double began = now(), until = began + atof(argv[5]);
    while (now() < until) {
        for (; asked - answered < depth; asked++) {
            ask(asked, proc, fh, offset);
            offset = offset + MIB < size ? offset + MIB : 0;
        }
        bytes += reply(proc);
        answered++;
    }
    double took = now() - began;
    printf("{\"calls\": %u, \"bytes\": %llu, \"secs\": %.4f}\n", answered, (unsigned long long)bytes, took);
    return 0;
}
