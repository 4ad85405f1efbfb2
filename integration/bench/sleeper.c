/* The supervised program: does nothing. With a path, first says there when it came to run: "NANOSECONDS PID" on CLOCK_MONOTONIC. */
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    if (argc > 1) {
        char line[64];
        int n = snprintf(line, sizeof line, "%lld %d\n", t.tv_sec * 1000000000ll + t.tv_nsec, getpid());
        int fd = open(argv[1], O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, line, n) != n) return 1;
        close(fd);
    }
    for (;;) pause();
}
