/* What shells cannot do on a mount: built statically by tests, run in the guest of kernel-client.
 *
 *   nfs-probe mmap FILE            write the file to stdout, read through a mapping, from its end to its beginning and on
 *   nfs-probe list DIR             count the names in a folder by readdir, and sum up their hashes, in any order
 *   nfs-probe part FILE AT SIZE    write SIZE bytes from offset AT to stdout
 *   nfs-probe stride FILE EVERY    hash the first 4096 bytes of every EVERY bytes
 *   nfs-probe slowly FILE MS       write the file to stdout, a MiB at a time, MS milliseconds apart; say when it began
 *   nfs-probe lock FILE sh|ex      take a lock with flock(), without waiting
 */
#define _FILE_OFFSET_BITS 64
#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t hash(uint64_t h, const void *data, size_t size) /* FNV-1a */
{
    const unsigned char *p = data;
    while (size--)
        h = (h ^ *p++) * 0x100000001b3u;
    return h;
}
static const uint64_t EMPTY = 0xcbf29ce484222325u;

static void put(const void *data, size_t size)
{
    if (fwrite(data, 1, size, stdout) != size)
        err(1, "stdout");
}

static int opened(const char *file)
{
    int fd = open(file, O_RDONLY);
    if (fd < 0)
        err(1, "%s", file);
    return fd;
}

static void part(int fd, off_t at, size_t size)
{
    static char buffer[1 << 20];
    while (size) {
        ssize_t got = pread(fd, buffer, size < sizeof buffer ? size : sizeof buffer, at);
        if (got < 0)
            err(1, "pread");
        if (!got)
            return;
        put(buffer, got);
        at += got;
        size -= got;
    }
}

int main(int argc, char **argv)
{
    if (argc < 3)
        errx(2, "nfs-probe mmap|list|part|stride|slowly|lock PATH ...");
    const char *what = argv[1], *path = argv[2];
    if (!strcmp(what, "list")) {
        DIR *dir = opendir(path);
        struct dirent *entry;
        uint64_t count = 0, sum = 0;
        if (!dir)
            err(1, "%s", path);
        while ((entry = readdir(dir)))
            count++, sum += hash(EMPTY, entry->d_name, strlen(entry->d_name));
        printf("%" PRIu64 " %016" PRIx64 "\n", count, sum);
        return 0;
    }
    int fd = opened(path);
    struct stat st;
    if (fstat(fd, &st))
        err(1, "%s", path);
    if (!strcmp(what, "mmap")) {
        volatile char sum = 0;
        char *data = mmap(NULL, st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (data == MAP_FAILED)
            err(1, "mmap");
        for (off_t at = st.st_size - 1; at >= 0; at -= 4096 * 7)
            sum += data[at];
        put(data, st.st_size);
    } else if (!strcmp(what, "part") && argc == 5) {
        part(fd, strtoll(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
    } else if (!strcmp(what, "stride") && argc == 4) {
        static char buffer[4096];
        uint64_t h = EMPTY;
        off_t every = strtoll(argv[3], NULL, 10);
        for (off_t at = 0; at < st.st_size; at += every) {
            ssize_t got = pread(fd, buffer, sizeof buffer, at);
            if (got < 0)
                err(1, "pread");
            h = hash(h, buffer, got);
        }
        printf("%016" PRIx64 "\n", h);
    } else if (!strcmp(what, "slowly") && argc == 4) {
        for (off_t at = 0; at < st.st_size; at += 1 << 20) {
            part(fd, at, 1 << 20);
            if (!at)
                fprintf(stderr, "began\n");
            usleep(atoi(argv[3]) * 1000);
        }
    } else if (!strcmp(what, "lock") && argc == 4) {
        if (flock(fd, (!strcmp(argv[3], "ex") ? LOCK_EX : LOCK_SH) | LOCK_NB))
            err(1, "flock");
        puts("locked");
    } else {
        errx(2, "unknown: %s", what);
    }
    return fflush(stdout) ? 1 : 0;
}
