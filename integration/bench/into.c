/* into CGROUP COMMAND...: becomes COMMAND as a member of CGROUP. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    char path[4096];
    if (argc < 3) return 2;
    snprintf(path, sizeof path, "%s/cgroup.procs", argv[1]);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "0", 1) != 1) return fprintf(stderr, "into %s: %s\n", path, strerror(errno)), 1;
    execvp(argv[2], argv + 2);
    return fprintf(stderr, "into: %s: %s\n", argv[2], strerror(errno)), 127;
}
