/* An opm that is installed and does not serve. It passes the check, since the real one beside it (opm.real) answers for it; what
 * it does when it is to serve stands in a file beside it (impostor): "exit", "abort" or "hang"; "brief" serves for a second.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    char beside[4096], path[4200], how[16] = "";
    ssize_t n = readlink("/proc/self/exe", beside, sizeof beside - 1);
    if (n < 0) return 99;
    beside[n] = 0;
    *strrchr(beside, '/') = 0;
    if (argc > 2 && strcmp(argv[2], "serve") == 0) {
        snprintf(path, sizeof path, "%s/impostor", beside);
        FILE *f = fopen(path, "r");
        if (!f || fscanf(f, "%15s", how) != 1) return 98;
        if (strcmp(how, "hang") == 0) for (;;) pause();
        if (strcmp(how, "abort") == 0) abort();
        if (strcmp(how, "brief") != 0) return 3;
        alarm(1);
    }
    snprintf(path, sizeof path, "%s/opm.real", beside);
    execv(path, argv);
    return 97;
}
