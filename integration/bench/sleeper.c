/* The supervised program. All times are ns on CLOCK_MONOTONIC.
 *
 *   sleeper STAMPS NAME          says in the FIFO STAMPS when it came to run, "NANOSECONDS PID NAME", and then does nothing
 *   sleeper STAMPS NAME tree     the same, with a child and, forked twice and in a session of its own, a grandchild; each stamps, too
 *   sleeper STAMPS NAME crash    says so and fails
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int stamp(const char *path, const char *name, struct timespec t) {
    char line[128];
    int n = snprintf(line, sizeof line, "%lld %d %s\n", t.tv_sec * 1000000000ll + t.tv_nsec, getpid(), name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, line, n) != n) return 1;
    return close(fd);
}

static int sleep_on(const char *path, const char *name) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    if (stamp(path, name, t)) return 1;
    for (;;) pause();
}

int main(int argc, char **argv) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    if (argc < 3 || stamp(argv[1], argv[2], t)) return 2;
    const char *how = argc > 3 ? argv[3] : "";
    if (!strcmp(how, "crash")) return 1;
    if (!strcmp(how, "tree")) {
        if (fork() == 0) return sleep_on(argv[1], "child");
        if (fork() == 0) {
            setsid();
            return fork() == 0 ? sleep_on(argv[1], "grandchild") : 0;
        }
    }
    for (;;) pause();
}
