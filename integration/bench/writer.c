/* What writes and what reads in the log figures. All times are ns on CLOCK_MONOTONIC.
 *
 *   writer bulk LINES STAMPS       LINES numbered lines of 100 bytes, 64 KiB in each write; ends 0.3 s later
 *   writer lines LINES STAMPS      the same, each line in a write of its own
 *   writer paced LINES RATE STAMPS the same at RATE lines a second, as many as are due each 10 ms
 *   writer clock SEED              for ever: a line that holds the time it is written, then a pause of 0 to 20 ms
 *   writer pump FILE               from stdin into FILE, read(2) and write(2)
 *   writer watch SKIP COUNT        lines of `clock` from stdin: prints how old each was when it was read
 *
 * STAMPS is a FIFO: "NAME begin NS 0" before the first byte, "NAME end NS CPU" after the last, with the CPU time in us that it took
 * and, for `paced`, NAME "late NS 0": the most that a line was written after it was due. NAME is $NAME.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define LINE 100

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void put(int fd, const char *bytes, size_t length) {
    while (length) {
        ssize_t n = write(fd, bytes, length);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) fail("write");
        bytes += n, length -= n;
    }
}

static void stamp(const char *path, const char *what, long long at) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    long long cpu = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000ll + used.ru_utime.tv_usec + used.ru_stime.tv_usec;
    const char *name = getenv("NAME");
    char line[256];
    int n = snprintf(line, sizeof line, "%s %s %lld %lld\n", name ? name : "-", what, at, cpu);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) fail(path);
    put(fd, line, n);
    close(fd);
}

/* "0000000017 ...\n" */
static void number(char *line, long number) {
    for (int i = 9; i >= 0; i--, number /= 10) line[i] = '0' + number % 10;
}

/* Some of it is never the same, so that it packs about as well as logs do. */
static void fill(char *line) {
    static const char text[] = " GET /item/________________________ HTTP/1.1 200 served in the usual time to who had asked for it....";
    static unsigned long long state = 1;
    memcpy(line + 10, text, LINE - 11);
    for (int i = 0; i < 24; i++) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        line[21 + i] = "0123456789abcdef"[state >> 60];
    }
    line[LINE - 1] = '\n';
}

#define AT_ONCE 655
/* 3 MiB: more than the packer looks back. */
static char text[48][AT_ONCE * LINE];

static void write_lines(long lines, int at_once) {
    for (long done = 0; done < lines;) {
        char *block = text[done / AT_ONCE % 48] + (at_once == 1 ? done % AT_ONCE * LINE : 0);
        int now_many = lines - done < at_once ? lines - done : at_once;
        for (int i = 0; i < now_many; i++) number(block + i * LINE, done + i);
        put(1, block, (size_t)now_many * LINE);
        done += now_many;
    }
}

static long long write_paced(long lines, long rate) {
    long long begin = now(), latest = 0;
    for (long done = 0; done < lines;) {
        long long late = now() - begin - done * 1000000000ll / rate;
        if (late < 0) {
            struct timespec pause = {0, 10000000};
            clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
            continue;
        }
        if (late > latest) latest = late;
        char *line = text[0] + done % AT_ONCE * LINE;
        number(line, done++);
        put(1, line, LINE);
    }
    return latest;
}

static void write_clock(unsigned seed) {
    char line[64];
    for (;;) {
        struct timespec pause = {0, rand_r(&seed) % 20000000};
        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
        put(1, line, snprintf(line, sizeof line, "at %lld\n", now()));
    }
}

static void pump(const char *path) {
    static char block[65536];
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) fail(path);
    for (ssize_t n; (n = read(0, block, sizeof block)) > 0;) put(fd, block, n);
}

static void watch(long skip, long count) {
    char line[256];
    while (count && fgets(line, sizeof line, stdin)) {
        long long at = now();
        char *found = strstr(line, "at ");
        if (!found) continue;
        if (skip-- > 0) continue;
        printf("%lld\n", at - atoll(found + 3));
        count--;
    }
}

int main(int argc, char **argv) {
    const char *what = argc > 2 ? argv[1] : "";
    if (!strcmp(what, "pump")) return pump(argv[2]), 0;
    if (!strcmp(what, "clock")) write_clock(atoi(argv[2]));
    if (!strcmp(what, "watch") && argc > 3) return watch(atol(argv[2]), atol(argv[3])), 0;
    const char *stamps = argv[argc - 1];
    for (int i = 0; i < AT_ONCE * (strcmp(what, "paced") ? 48 : 1); i++) fill(text[0] + i * LINE);
    if (!strcmp(what, "paced") && argc > 4) {
        stamp(stamps, "begin", now());
        stamp(stamps, "late", write_paced(atol(argv[2]), atol(argv[3])));
    } else if (argc > 3) {
        stamp(stamps, "begin", now());
        write_lines(atol(argv[2]), strcmp(what, "bulk") ? 1 : AT_ONCE);
    } else {
        fprintf(stderr, "writer: wrong arguments\n");
        return 2;
    }
    stamp(stamps, "end", now());
    /* Some lose what an app wrote right before it ended. That is not what is measured here. */
    nanosleep(&(struct timespec){0, 300000000}, NULL);
    return 0;
}
