/* The least that a supervisor of this design can do, as the yardstick: one static program, no allocation to speak of, no disk.
 *
 *   limit serve SOCKET CGROUP SPECS [HOW]   starts every line of SPECS (tab-separated argv), each with clone3 straight into a cgroup
 *                                of its own, waits until each is executed, says so, then serves; what dies is followed at once.
 *                                HOW: "vfork" shares the memory until exec, as vfork does; "hop" has a parent process of its own
 *                                that reaps, and says so over a socket before it does, as opm's keeper
 *   limit ask SOCKET ORDER...    one request, answer on stdout: list, start ARGV..., stop [NUMBER], adopt, quit
 *   limit version                a program start and nothing else
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST 32768
struct app {
    char *argv[16];
    int run, pid, pidfd, exec_pipe;
    char cgroup[64];
} apps[MOST];
static int count, root, epoll, null_fd, hop = -1, vforked;
extern char **environ;

static void die(const char *what) {
    fprintf(stderr, "limit: %s: %s\n", what, strerror(errno));
    exit(1);
}
static void become(struct app *a, int failed_fd) {
    setsid();
    dup2(null_fd, 0), dup2(null_fd, 1), dup2(null_fd, 2);
    execve(a->argv[0], a->argv, environ);
    if (write(failed_fd, "", 1)) {}
    _exit(127);
}
/* A child on the parent's own stack, which stands still until exec: the call must not leave a return address there. */
__attribute__((noinline)) static long born_shared(struct clone_args *args, struct app *a, int failed_fd) {
#ifdef __x86_64__
    long pid;
    __asm__ volatile("syscall" : "=a"(pid) : "0"(SYS_clone3), "D"(args), "S"(sizeof *args) : "rcx", "r11", "memory");
    if (pid == 0) become(a, failed_fd);
    if (pid < 0) errno = -pid;
    return pid < 0 ? -1 : pid;
#else
    errno = ENOSYS;
    return -1;
#endif
}
static void spawn(struct app *a) {
    int pipes[2], old = a->run > 0;
    char last[64];
    strcpy(last, a->cgroup);
    snprintf(a->cgroup, sizeof a->cgroup, "%d.0/run-%d", (int)(a - apps), ++a->run);
    if (a->run == 1) {
        char parent[32];
        snprintf(parent, sizeof parent, "%d.0", (int)(a - apps));
        if (mkdirat(root, parent, 0755)) die("mkdir");
    }
    if (mkdirat(root, a->cgroup, 0755)) die("mkdir");
    int dir = openat(root, a->cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || pipe2(pipes, O_CLOEXEC)) die("open");
    struct clone_args args = {
        .flags = CLONE_INTO_CGROUP | CLONE_PIDFD, .pidfd = (uintptr_t)&a->pidfd, .exit_signal = SIGCHLD, .cgroup = dir};
    if (hop >= 0) args.flags |= CLONE_PARENT, args.exit_signal = 0;
    if (vforked) args.flags |= CLONE_VFORK | CLONE_VM;
    long pid = vforked ? born_shared(&args, a, pipes[1]) : syscall(SYS_clone3, &args, sizeof args);
    if (pid < 0) die("clone3");
    if (pid == 0) become(a, pipes[1]);
    a->pid = pid, a->exec_pipe = pipes[0];
    close(pipes[1]), close(dir);
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = a - apps};
    if (hop < 0) epoll_ctl(epoll, EPOLL_CTL_ADD, a->pidfd, &e);
    if (old) unlinkat(root, last, AT_REMOVEDIR);
}
static void executed(struct app *a) {
    char failed;
    if (read(a->exec_pipe, &failed, 1) != 0) die("exec");
    close(a->exec_pipe);
}
static void list(FILE *out) {
    char path[96], buf[256];
    fputs("[", out);
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/cgroup.events", apps[i].cgroup);
        int fd = openat(root, path, O_RDONLY | O_CLOEXEC), n = fd < 0 ? 0 : read(fd, buf, sizeof buf - 1);
        if (fd >= 0) close(fd);
        buf[n > 0 ? n : 0] = 0;
        fprintf(out, "%s{\"id\":%d,\"name\":\"app%d\",\"instance\":0,\"state\":\"%s\",\"pid\":%d,\"run\":%d,\"cgroup\":\"%s\"}", i ? "," : "", i, i,
                strstr(buf, "populated 1") ? "online" : "stopped", apps[i].pid, apps[i].run, apps[i].cgroup);
    }
    fputs("]\n", out);
}
/* What a new daemon cannot do without: who is in each cgroup, and a hold on them. */
static void adopt(void) {
    char path[96], buf[256];
    for (int i = 0; i < count; i++) {
        if (!apps[i].pid) continue;
        epoll_ctl(epoll, EPOLL_CTL_DEL, apps[i].pidfd, 0);
        close(apps[i].pidfd);
    }
    for (int i = 0; i < count; i++) {
        if (!apps[i].pid) continue;
        snprintf(path, sizeof path, "%s/cgroup.procs", apps[i].cgroup);
        int fd = openat(root, path, O_RDONLY | O_CLOEXEC), n = fd < 0 ? 0 : read(fd, buf, sizeof buf - 1);
        if (fd >= 0) close(fd);
        buf[n > 0 ? n : 0] = 0;
        apps[i].pidfd = syscall(SYS_pidfd_open, atoi(buf), 0);
        if (apps[i].pidfd < 0) die("pidfd_open");
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
        epoll_ctl(epoll, EPOLL_CTL_ADD, apps[i].pidfd, &e);
    }
}
/* The parent of everybody: says who ended, then reaps. */
static void keep(int daemon) {
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (;;) {
        siginfo_t info;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOWAIT | __WALL)) exit(0);
        if (info.si_pid == daemon) exit(0);
        if (write(hop, &info.si_pid, sizeof info.si_pid) < 0) exit(0);
        waitid(P_PID, info.si_pid, &info, WEXITED | __WALL);
    }
}
static void follow(struct app *dead) {
    close(dead->pidfd);
    spawn(dead);
}
static void hear(void) {
    int pid;
    while (recv(hop, &pid, sizeof pid, MSG_DONTWAIT) == sizeof pid)
        for (int i = 0; i < count; i++)
            if (apps[i].pid == pid) follow(&apps[i]), executed(&apps[i]);
}
static void stop(int first, int end) {
    char path[96], buf[256];
    for (int i = first; i < end; i++) {
        if (!apps[i].pid) continue;
        epoll_ctl(epoll, EPOLL_CTL_DEL, apps[i].pidfd, 0);
        snprintf(path, sizeof path, "%s/cgroup.kill", apps[i].cgroup);
        int fd = openat(root, path, O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, "1", 1) != 1) die("cgroup.kill");
        close(fd);
    }
    for (int i = first; i < end; i++) {
        if (!apps[i].pid) continue;
        struct pollfd p = {apps[i].pidfd, POLLIN, 0};
        poll(&p, 1, -1);
        waitpid(apps[i].pid, 0, 0);
        close(apps[i].pidfd);
        apps[i].pid = 0;
        /* Zombies do not count: almost always empty by now; else its notification says when. */
        snprintf(path, sizeof path, "%s/cgroup.events", apps[i].cgroup);
        int fd = openat(root, path, O_RDONLY | O_CLOEXEC);
        for (;;) {
            int n = pread(fd, buf, sizeof buf - 1, 0);
            buf[n > 0 ? n : 0] = 0;
            if (strstr(buf, "populated 0")) break;
            struct pollfd e = {fd, POLLPRI, 0};
            poll(&e, 1, -1);
        }
        close(fd);
        unlinkat(root, apps[i].cgroup, AT_REMOVEDIR);
        char parent[32];
        snprintf(parent, sizeof parent, "%d.0", i);
        unlinkat(root, parent, AT_REMOVEDIR);
    }
}
static void add(char *rest) {
    rest = strdup(rest);
    for (int i = 0; i < 15 && rest; i++) apps[count].argv[i] = strsep(&rest, "\t");
    count++;
}
static int serve_one(int client) {
    char order[4096];
    int n = read(client, order, sizeof order - 1);
    order[n > 0 ? n : 0] = 0;
    char *rest = order, *verb = strsep(&rest, "\t");
    FILE *out = fdopen(client, "w");
    if (!out) die("fdopen");
    if (!strcmp(verb, "list")) list(out);
    if (!strcmp(verb, "stop")) rest ? stop(atoi(rest), atoi(rest) + 1) : stop(0, count), fputs("stopped\n", out);
    if (!strcmp(verb, "adopt")) adopt(), fputs("adopted\n", out);
    if (!strcmp(verb, "start") && rest && count < MOST) {
        add(rest), spawn(&apps[count - 1]), executed(&apps[count - 1]);
        fprintf(out, "started %d\n", apps[count - 1].pid);
    }
    fclose(out);
    return !strcmp(verb, "quit");
}
static int serve(const char *socket_path, const char *cgroup, const char *specs) {
    struct rlimit r;
    getrlimit(RLIMIT_NOFILE, &r), r.rlim_cur = r.rlim_max, setrlimit(RLIMIT_NOFILE, &r);
    root = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    FILE *f = fopen(specs, "re");
    if (root < 0 || !f) die("open");
    char *line = 0;
    size_t room = 0;
    while (count < MOST && getline(&line, &room, f) > 0) {
        line[strcspn(line, "\n")] = 0;
        add(line);
    }
    fclose(f);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strncpy(a.sun_path, socket_path, sizeof a.sun_path - 1);
    if (bind(listener, (struct sockaddr *)&a, sizeof a) || listen(listener, 64)) die("bind");
    if (hop == 0) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) die("socketpair");
        int daemon = fork();
        hop = pair[daemon == 0];
        if (daemon) close(pair[1]), close(listener), keep(daemon);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(pair[0]);
    }
    for (int i = 0; i < count; i++) spawn(&apps[i]);
    for (int i = 0; i < count; i++) executed(&apps[i]);
    printf("started %d\n", count);
    fflush(stdout);
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = MOST}, ready[64];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &e);
    if (hop >= 0) e.data.u32 = MOST + 1, epoll_ctl(epoll, EPOLL_CTL_ADD, hop, &e);
    for (;;) {
        int n = epoll_wait(epoll, ready, 64, -1), followed[64], follows = 0;
        for (int i = 0; i < n; i++) {
            if (ready[i].data.u32 >= MOST) continue;
            struct app *dead = &apps[ready[i].data.u32];
            epoll_ctl(epoll, EPOLL_CTL_DEL, dead->pidfd, 0);
            waitpid(dead->pid, 0, 0);
            follow(dead);
            followed[follows++] = dead - apps;
        }
        for (int i = 0; i < follows; i++) executed(&apps[followed[i]]);
        for (int i = 0; i < n; i++) {
            if (ready[i].data.u32 > MOST) hear();
            if (ready[i].data.u32 == MOST && serve_one(accept4(listener, 0, 0, SOCK_CLOEXEC))) return 0;
        }
    }
}
static int ask(const char *socket_path, char **order) {
    char buf[65536];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), length = 0;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strncpy(a.sun_path, socket_path, sizeof a.sun_path - 1);
    for (; *order; order++) length += snprintf(buf + length, sizeof buf - length, "%s%s", length ? "\t" : "", *order);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) || write(fd, buf, length) < 0) die("connect");
    for (int n; (n = read(fd, buf, sizeof buf)) > 0;)
        if (write(1, buf, n) < 0) return 1;
    return 0;
}
int main(int argc, char **argv) {
    if (argc == 6 && !strcmp(argv[5], "hop")) hop = 0;
    if (argc == 6 && !strcmp(argv[5], "vfork")) vforked = 1;
    if (argc >= 5 && !strcmp(argv[1], "serve")) return serve(argv[2], argv[3], argv[4]);
    if (argc >= 4 && !strcmp(argv[1], "ask")) return ask(argv[2], argv + 3);
    puts("limit 1");
    return 0;
}
