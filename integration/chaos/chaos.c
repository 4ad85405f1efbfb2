/* The apps of the chaos test: `chaos KIND`, each nasty in its own way.
 *
 * Every run of it keeps an account in the file $CHAOS_ACCOUNT, one line per write, so that what opm says about it can be held
 * against what it meant to do: "begin RUN PID APP INSTANCE KIND" first of all, "code RUN PID N" or "signal RUN PID N" just
 * before it ends by itself. RUN is read from its cgroup. A run that is killed leaves no second line.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int account = -1;
static long run = -1;

static void nap(long ms) {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    while (nanosleep(&t, &t) && errno == EINTR) {}
}
static void rest(void) { for (;;) pause(); }
static void note(const char *what, const char *more) {
    char line[256];
    int n = snprintf(line, sizeof line, "%s %ld %d %s\n", what, run, getpid(), more);
    if (write(account, line, n) != n) _exit(96);
}
static void end(int code) {
    char text[16];
    snprintf(text, sizeof text, "%d", code);
    note("code", text);
    _exit(code);
}
static void end_by(int sig) {
    char text[16];
    snprintf(text, sizeof text, "%d", sig);
    note("signal", text);
    signal(sig, SIG_DFL);
    raise(sig);
    _exit(95);
}
static void which_run(void) {
    char line[4096], *at;
    FILE *f = fopen("/proc/self/cgroup", "re");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "0::", 3) && (at = strstr(line, "/run-"))) run = atol(at + 5);
    if (f) fclose(f);
}
static void on_term_slowly(int sig) { (void)sig; nap(rand() % 250); end(0); }
static void on_term_oddly(int sig) { (void)sig; end(41); }
/* A grandchild with a session of its own, deaf to SIGTERM; lives for `ms`, or for ever. */
static void leave_behind(long ms) {
    pid_t child = fork();
    if (child == 0) {
        setsid();
        if (fork()) _exit(0);
        signal(SIGTERM, SIG_IGN), signal(SIGHUP, SIG_IGN);
        if (ms < 0) rest();
        nap(ms);
        _exit(0);
    }
    if (child > 0) waitpid(child, 0, 0);
}

int main(int argc, char **argv) {
    const char *kind = argc > 1 ? argv[1] : "", *file = getenv("CHAOS_ACCOUNT");
    char more[128];
    account = file ? open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666) : -1;
    if (account < 0) _exit(97);
    which_run();
    srand(getpid() ^ (unsigned)run * 2654435761u);
    if (strcmp(kind, "again")) {
        const char *app = getenv("OPM_APP"), *instance = getenv("OPM_INSTANCE");
        snprintf(more, sizeof more, "%s %s %s", app ? app : "?", instance ? instance : "?", kind);
        note("begin", more);
    }
    if (!strcmp(kind, "pause") || !strcmp(kind, "again")) rest();
    if (!strcmp(kind, "crash")) end(3);
    if (!strcmp(kind, "zero")) end(0);
    if (!strcmp(kind, "segv")) end_by(SIGSEGV);
    if (!strcmp(kind, "later")) nap(rand() % 1500), end(5);
    if (!strcmp(kind, "laterzero")) nap(rand() % 2000), end(0);
    if (!strcmp(kind, "ignore")) signal(SIGTERM, SIG_IGN), signal(SIGHUP, SIG_IGN), rest();
    if (!strcmp(kind, "slowterm")) signal(SIGTERM, on_term_slowly), rest();
    if (!strcmp(kind, "oddterm")) signal(SIGTERM, on_term_oddly), rest();
    if (!strcmp(kind, "outlived")) leave_behind(-1), nap(200 + rand() % 1500), end(6);
    if (!strcmp(kind, "leaves")) leave_behind(100 + rand() % 300), nap(rand() % 800), end(7);
    if (!strcmp(kind, "nanny")) leave_behind(-1), rest();
    if (!strcmp(kind, "tree")) {
        for (int i = 0; i < 4; i++)
            if (!fork()) {
                if (i % 2) setsid();
                if (!fork()) rest();
                rest();
            }
        rest();
    }
    if (!strcmp(kind, "storm")) {
        /* Waves of children that die at once, some of them as orphans for the keeper to reap. */
        signal(SIGCHLD, SIG_IGN);
        for (;;) {
            for (int i = 0; i < 8; i++)
                if (!fork()) {
                    if (i % 2 && !fork()) nap(20);
                    _exit(i);
                }
            nap(150);
        }
    }
    if (!strcmp(kind, "title")) {
        prctl(PR_SET_NAME, "(sd-pam) Z 1");
        memset(argv[0], 'x', strlen(argv[0]));
        rest();
    }
    if (!strcmp(kind, "closed")) {
        account = -1;
        for (int fd = 0; fd < 64; fd++) close(fd);
        rest();
    }
    if (!strcmp(kind, "exec")) nap(30), execl("/proc/self/exe", "else", "again", (char *)0), end(94);
    if (!strcmp(kind, "halted")) for (;;) raise(SIGSTOP);
    if (!strcmp(kind, "talk")) {
        char line[64];
        for (long i = 0;; i++) {
            int n = snprintf(line, sizeof line, "L %ld %ld\n", run, i);
            if (write(1, line, n) != n) end(77);
            nap(20);
        }
    }
    /* As many lines a second as asked for, numbered without a gap over all runs of the instance. */
    if (!strcmp(kind, "lines") && argc > 3) {
        long rate = atol(argv[2]), most = atol(argv[3]), made = 0;
        struct timespec begun, now;
        clock_gettime(CLOCK_MONOTONIC, &begun);
        while (made < most) {
            char chunk[8192];
            clock_gettime(CLOCK_MONOTONIC, &now);
            long due = ((now.tv_sec - begun.tv_sec) * 1000 + (now.tv_nsec - begun.tv_nsec) / 1000000) * rate / 1000;
            for (; made < due && made < most;) {
                int n = 0;
                while (n < 8000 && made < due && made < most) n += snprintf(chunk + n, 64, "L %d %ld\n", getpid(), made++);
                for (char *p = chunk; n > 0;) {
                    ssize_t w = write(1, p, n);
                    if (w < 0) end(77);
                    p += w, n -= w;
                }
            }
            nap(10);
        }
        note("wrote", argv[3]);
        rest();
    }
    _exit(98);
}
