/* The program under supervision: does what its arguments say, in order. `prog append:/f:hello ignore:15 pause`
 *
 *   append:FILE:TEXT     one line "TEXT PID" appended to FILE in one write
 *   out:TEXT err:TEXT    one line on stdout, stderr
 *   part:TEXT            the same without the line feed
 *   lines:N:TEXT         N numbered lines on stdout, the same N on stderr
 *   ignore:SIG           from now on ignore it
 *   trap:SIG:CODE        exit with CODE on it
 *   trapnote:SIG:FILE    append "sigSIG PID" to FILE on it and go on
 *   exit:CODE raise:SIG sleep:MS pause
 *   waitfile:FILE        until FILE exists (a test's go-ahead)
 *   exitfile:FILE        until FILE holds a number, then exit with it
 *   child:               fork; the child goes on with what follows, the parent skips to after "--"
 *   daemon:              the same, but double-forked with a session of its own
 *   bind:PORT            bind and listen on loopback, keep it; says "bound PORT" or exits 98 if it is in use
 *   storm:N              fork up to N children that pause; says "storm MADE ERRNO"
 *   squat:PID            (no app: a test's tool) fork until a child has that PID, which pauses; prints it
 *   facts:FILE           write what the process finds itself in: ids, session, signals, descriptors, env, args, ...
 *   reopen:TEXT          open /dev/stdout by path and write a line to it, as many programs do for their logs
 *   cloexec              (nothing; a name to be seen in the command line)
 * What is not known to it is ignored, so that a test can tag copies with a word of its own.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static int all_argc;
static char **all_argv;
static char *note_file;
static int trap_code;

static void say(int fd, const char *text, int len) {
    while (len > 0) {
        int n = write(fd, text, len);
        if (n <= 0) return;
        text += n, len -= n;
    }
}
static void append(const char *file, const char *text) {
    char line[4096];
    int n = snprintf(line, sizeof line, "%s %d\n", text, getpid());
    int fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) _exit(97);
    say(fd, line, n);
    close(fd);
}
static void on_exit_signal(int sig) { (void)sig; _exit(trap_code); }
static void on_note(int sig) {
    char text[32];
    snprintf(text, sizeof text, "sig%d", sig);
    append(note_file, text);
}
static void nap(long ms) {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    while (nanosleep(&t, &t) && errno == EINTR) {}
}
static void hex(FILE *f, const char *key, const char *value, size_t len) {
    fprintf(f, "%s ", key);
    for (size_t i = 0; i < len; i++) fprintf(f, "%02x", (unsigned char)value[i]);
    fputc('\n', f);
}
static void facts(const char *file) {
    /* Descriptors first, before this opens any of its own. */
    char open_fds[4096] = "", tmp[4096];
    DIR *d = opendir("/proc/self/fd");
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.' && atoi(e->d_name) != dirfd(d)) strcat(strcat(open_fds, " "), e->d_name);
    if (d) closedir(d);
    snprintf(tmp, sizeof tmp, "%s.tmp", file);
    FILE *f = fopen(tmp, "w");
    if (!f) _exit(96);
    fprintf(f, "pid %d\nppid %d\nsid %d\npgid %d\nuid %d\neuid %d\ngid %d\negid %d\nfds%s\n", getpid(), getppid(), getsid(0), getpgrp(),
            getuid(), geteuid(), getgid(), getegid(), open_fds);
    gid_t groups[128];
    int n = getgroups(128, groups);
    fprintf(f, "groups");
    for (int i = 0; i < n; i++) fprintf(f, " %d", groups[i]);
    mode_t mask = umask(0);
    umask(mask);
    fprintf(f, "\numask %04o\nnice %d\n", mask, getpriority(PRIO_PROCESS, 0));
    struct rlimit r;
    getrlimit(RLIMIT_NOFILE, &r);
    fprintf(f, "nofile %llu:%llu\n", (unsigned long long)r.rlim_cur, (unsigned long long)r.rlim_max);
    getrlimit(RLIMIT_CORE, &r);
    fprintf(f, "core %llu:%llu\n", (unsigned long long)r.rlim_cur, (unsigned long long)r.rlim_max);
    char *cwd = getcwd(0, 0);
    if (cwd) hex(f, "cwd", cwd, strlen(cwd));
    for (int i = 0; i < 3; i++) {
        char path[32], link[1024];
        snprintf(path, sizeof path, "/proc/self/fd/%d", i);
        ssize_t l = readlink(path, link, sizeof link - 1);
        if (l > 0) fprintf(f, "fd%d %.*s\n", i, (int)l, link);
    }
    for (int i = 0; i < all_argc; i++) hex(f, "arg", all_argv[i], strlen(all_argv[i]));
    for (char **e = environ; *e; e++) hex(f, "env", *e, strlen(*e));
    char line[4096];
    FILE *s = fopen("/proc/self/status", "r");
    while (s && fgets(line, sizeof line, s))
        if (!strncmp(line, "Sig", 3) || !strncmp(line, "ShdPnd", 6) || !strncmp(line, "NoNewPrivs", 10)) fprintf(f, "status %s", line);
    if (s) fclose(s);
    s = fopen("/proc/self/cgroup", "r");
    while (s && fgets(line, sizeof line, s))
        if (!strncmp(line, "0::", 3)) fprintf(f, "cgroup %s", line + 3);
    if (s) fclose(s);
    s = fopen("/proc/self/oom_score_adj", "r");
    if (s && fgets(line, sizeof line, s)) fprintf(f, "oom_score_adj %s", line);
    if (s) fclose(s);
    fclose(f);
    rename(tmp, file);
}
static void bind_port(int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    /* So that only a living holder, not TIME_WAIT, can be in the way. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 8)) {
        dprintf(1, "in use %d\n", port);
        _exit(98);
    }
    dprintf(1, "bound %d\n", port);
}
static void squat(int want) {
    for (int i = 0; i < 2000000; i++) {
        pid_t child = fork();
        if (child == 0) {
            if (getpid() == want) for (;;) pause();
            _exit(0);
        }
        if (child == want) {
            dprintf(1, "squatting %d\n", child);
            for (;;) pause();
        }
        if (child > 0) waitpid(child, 0, 0);
    }
    _exit(95);
}

int main(int argc, char **argv) {
    all_argc = argc, all_argv = argv;
    for (int i = 1; i < argc; i++) {
        char *op = strdup(argv[i]), *a = strchr(op, ':'), *b = 0;
        if (a) *a++ = 0, b = strchr(a, ':');
        if (b) *b++ = 0;
        if (!strcmp(op, "append")) append(a, b);
        else if (!strcmp(op, "out")) say(1, strcat(a, "\n"), strlen(a) + 1);
        else if (!strcmp(op, "err")) say(2, strcat(a, "\n"), strlen(a) + 1);
        else if (!strcmp(op, "part")) say(1, a, strlen(a));
        else if (!strcmp(op, "lines")) {
            char line[4096];
            for (int l = 0; l < atoi(a); l++) {
                int n = snprintf(line, sizeof line, "%s %d\n", b ? b : "line", l);
                say(1, line, n), say(2, line, n);
            }
        } else if (!strcmp(op, "ignore")) signal(atoi(a), SIG_IGN);
        else if (!strcmp(op, "trap")) trap_code = atoi(b), signal(atoi(a), on_exit_signal);
        else if (!strcmp(op, "trapnote")) {
            note_file = b;
            struct sigaction s = {.sa_handler = on_note, .sa_flags = SA_RESTART};
            sigaction(atoi(a), &s, 0);
        } else if (!strcmp(op, "exit")) _exit(atoi(a));
        else if (!strcmp(op, "raise")) signal(atoi(a), SIG_DFL), raise(atoi(a));
        else if (!strcmp(op, "sleep")) nap(atol(a));
        else if (!strcmp(op, "pause")) for (;;) pause();
        else if (!strcmp(op, "waitfile")) while (access(a, F_OK)) nap(3);
        else if (!strcmp(op, "exitfile")) {
            // The number comes a moment after the file does.
            int code, got = 0;
            while (!got) {
                FILE *f = fopen(a, "r");
                if (f) {
                    got = fscanf(f, "%d", &code) == 1;
                    fclose(f);
                }
                if (!got) nap(3);
            }
            _exit(code);
        } else if (!strcmp(op, "child") || !strcmp(op, "daemon")) {
            pid_t child = fork();
            if (child == 0 && !strcmp(op, "daemon")) {
                setsid();
                if (fork()) _exit(0);
            }
            if (child > 0) {
                if (!strcmp(op, "daemon")) waitpid(child, 0, 0);
                while (i + 1 < argc && strcmp(argv[i + 1], "--")) i++;
                i++;
            }
        } else if (!strcmp(op, "--")) for (;;) pause(); /* the child's part ends here */
        else if (!strcmp(op, "bind")) bind_port(atoi(a));
        else if (!strcmp(op, "storm")) {
            int made = 0, error = 0;
            for (int n = 0; n < atoi(a) && !error; n++) {
                pid_t child = fork();
                if (child == 0) for (;;) pause();
                if (child < 0) error = errno;
                else made++;
            }
            dprintf(1, "storm %d %d\n", made, error);
        } else if (!strcmp(op, "squat")) squat(atoi(a));
        else if (!strcmp(op, "facts")) facts(a);
        else if (!strcmp(op, "reopen")) {
            int fd = open("/dev/stdout", O_WRONLY | O_APPEND);
            if (fd < 0) dprintf(2, "reopen failed %d\n", errno);
            else dprintf(fd, "%s\n", a);
        }
    }
    return 0;
}
