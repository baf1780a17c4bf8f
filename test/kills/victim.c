/*
 * Processes made to be killed by the OOM killer, inside a memory cgroup that the caller made.
 *
 *   victim hog WAIT [TEXT...]
 *       waits, then touches memory until it is killed (at most 1 GiB, then gives up with status 3).
 *       WAIT: so many milliseconds; `line`: for one on its standard input; `SIGTERM`: for that.
 *
 *   victim protected WAIT [TEXT...]
 *       the same, but the OOM killer may not take it; for root.
 *
 *   victim launch PROCS COUNT PARALLEL MODE WAIT [TEXT...]
 *       starts COUNT hogs, at most PARALLEL at a time. Each joins the cgroup whose cgroup.procs is PROCS, then
 *       MODE exec: executes `victim hog WAIT TEXT...`, every %d in TEXT being its index;
 *       MODE fork: goes on as the launcher's copy, without exec (a prefork server's worker).
 *       Prints `INDEX PID started` (`early`: killed before its exec) and `INDEX PID STATUS` (wait status: 9 = SIGKILL) a line each.
 *
 *   victim parent PROCS WAIT [TEXT...]
 *       joins the cgroup, starts one hog below itself and lives on until its standard input ends.
 *
 *   victim execs PER_SECOND COUNT
 *       starts COUNT processes that end at once, at an even pace; no kills.
 *
 *   victim leader WAIT [TEXT...]
 *       its first thread exits at once, a second one is the hog.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STEP (64 * 1024)
#define MOST (1024L * 1024 * 1024)

static void sleep_ms(long ms) {
  struct timespec t = {ms / 1000, (ms % 1000) * 1000000};
  while (nanosleep(&t, &t) < 0 && errno == EINTR) {
  }
}

/* What a hog says to its launcher once it is a program of its own. */
#define BORN_FD 9

/* False: the other end was closed by its death. */
static int is_born(int fd) {
  char byte;
  ssize_t got;
  while ((got = read(fd, &byte, 1)) < 0 && errno == EINTR) {
  }
  close(fd);
  return got == 1;
}

static void say_born(void) {
  if (write(BORN_FD, "b", 1) == 1) close(BORN_FD);
}

static void set_score(const char *score) {
  int fd = open("/proc/self/oom_score_adj", O_WRONLY);
  if (fd < 0) return;
  if (write(fd, score, strlen(score)) < 0) perror("oom_score_adj");
  close(fd);
}

/* From its birth on: else the signal that it is to wait for may end it. */
static sigset_t block_sigterm(void) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigprocmask(SIG_BLOCK, &signals, 0);
  return signals;
}

static void wait_for(const char *what) {
  if (!strcmp(what, "line")) {
    char byte;
    while (read(0, &byte, 1) == 1 && byte != '\n') {
    }
  } else if (!strcmp(what, "SIGTERM")) {
    /* Unlike sigwait it leaves the signal blocked meanwhile, which /proc shows (`waitsForSigterm` in kills.ts). */
    sigset_t signals = block_sigterm();
    struct signalfd_siginfo received;
    int fd = signalfd(-1, &signals, 0);
    while (read(fd, &received, sizeof received) < 0 && errno == EINTR) {
    }
    close(fd);
  } else {
    sleep_ms(atol(what));
  }
}

static void eat(const char *wait) {
  wait_for(wait);
  for (long total = 0; total < MOST; total += STEP) {
    char *p = mmap(0, STEP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) break;
    memset(p, 1, STEP);
  }
  _exit(3);
}

/* The launcher may be in the same cgroup, and asks for memory when it forks: the kernel then shall take one of us. */
static void hog(const char *wait) {
  set_score("1000");
  eat(wait);
}

static void *hog_thread(void *wait) {
  hog(wait);
  return 0;
}

static void join_cgroup(const char *procs) {
  int fd = open(procs, O_WRONLY);
  if (fd < 0 || write(fd, "0", 1) != 1) {
    perror(procs);
    _exit(4);
  }
  close(fd);
}

static char *with_index(const char *text, int index) {
  const char *at = strstr(text, "%d");
  if (!at) return strdup(text);
  char *out = malloc(strlen(text) + 16);
  sprintf(out, "%.*s%d%s", (int)(at - text), text, index, at + 2);
  return out;
}

static void become_hog(char **argv, int index) {
  char *args[4096];
  int n = 0;
  args[n++] = "victim";
  args[n++] = "hog";
  for (char **a = argv; *a && n < 4095; a++) args[n++] = with_index(*a, index);
  args[n] = 0;
  char program[4096];
  ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  if (length < 0) _exit(5);
  program[length] = 0;
  execv(program, args);
  _exit(5);
}

static int launch(int argc, char **argv) {
  if (argc < 7) return 2;
  const char *procs = argv[2];
  int count = atoi(argv[3]), parallel = atoi(argv[4]), exec = strcmp(argv[5], "fork") != 0;
  pid_t *pids = calloc(count, sizeof *pids);
  int started = 0, running = 0, done = 0;
  while (done < count) {
    while (started < count && running < parallel) {
      int executed[2];
      if (pipe2(executed, O_CLOEXEC) < 0) return 6;
      pid_t pid = fork();
      if (pid < 0) {
        close(executed[0]);
        close(executed[1]);
        sleep_ms(5);
        continue;
      }
      if (pid == 0) {
        dup2(executed[1], BORN_FD);
        if (!strcmp(argv[6], "SIGTERM")) block_sigterm();
        if (!exec) say_born();
        join_cgroup(procs);
        if (exec) become_hog(argv + 6, started);
        hog(argv[6]);
      }
      close(executed[1]);
      pids[started] = pid;
      /* Others fill the cgroup meanwhile: a child may be killed as our copy, before it is a victim of its own. */
      printf("%d %d %s\n", started, pid, is_born(executed[0]) ? "started" : "early");
      fflush(stdout);
      started++;
      running++;
    }
    int status;
    pid_t pid = wait(&status);
    for (int i = 0; i < started; i++)
      if (pids[i] == pid) {
        printf("%d %d %d\n", i, pid, status);
        fflush(stdout);
        pids[i] = 0;
        running--;
        done++;
      }
  }
  return 0;
}

static int parent(int argc, char **argv) {
  if (argc < 4) return 2;
  join_cgroup(argv[2]);
  pid_t pid = fork();
  if (pid == 0) become_hog(argv + 3, 0);
  printf("0 %d started\n", pid);
  fflush(stdout);
  int status;
  waitpid(pid, &status, 0);
  printf("0 %d %d\n", pid, status);
  fflush(stdout);
  char byte;
  while (read(0, &byte, 1) > 0) {
  }
  return 0;
}

static int execs(long per_second, long count) {
  struct timespec next;
  clock_gettime(CLOCK_MONOTONIC, &next);
  for (long i = 0; i < count; i++) {
    pid_t pid = vfork();
    if (pid == 0) {
      execl("/proc/self/exe", "victim", "nothing", "--with=some", "--arguments=as", "usual", (char *)0);
      _exit(5);
    }
    waitpid(pid, 0, 0);
    next.tv_nsec += 1000000000L / per_second;
    if (next.tv_nsec >= 1000000000L) {
      next.tv_nsec -= 1000000000L;
      next.tv_sec++;
    }
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, 0);
  }
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  if (!strcmp(argv[1], "hog")) {
    say_born();
    hog(argv[2]);
  }
  if (!strcmp(argv[1], "protected")) {
    set_score("-1000");
    eat(argv[2]);
  }
  if (!strcmp(argv[1], "execs") && argc == 4) return execs(atol(argv[2]), atol(argv[3]));
  if (!strcmp(argv[1], "launch")) return launch(argc, argv);
  if (!strcmp(argv[1], "parent")) return parent(argc, argv);
  if (!strcmp(argv[1], "leader")) {
    pthread_t thread;
    pthread_create(&thread, 0, hog_thread, argv[2]);
    pthread_exit(0);
  }
  return 2;
}
