/* The least that a reader of the kernel's log can do: poll, read, note when a `Killed process` record was there, and read
 * /proc/PID/cmdline as soon as a line names the victim. Begins at the log's end; ends when standard input closes. Prints a
 * line for each kill:
 *   PID RECORD_US ARRIVAL_NS COMMAND_LINE_IN_HEX
 * ARRIVAL_NS is CLOCK_MONOTONIC. `mark MONOTONIC_NS RECORD_US` gives the difference of the two clocks. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char early[1 << 16];
static ssize_t early_length;
static int early_pid;

static long long now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static ssize_t command_line(int pid, char *into, size_t size) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
  int fd = open(path, O_RDONLY);
  if (fd < 0) return 0;
  ssize_t n = read(fd, into, size);
  close(fd);
  return n < 0 ? 0 : n;
}

static void mark(int fd) {
  char buffer[16384];
  int out = open("/dev/kmsg", O_WRONLY);
  long long before = now_ns();
  if (out < 0 || write(out, "<15>oom-witness-bench\n", 22) < 0) return;
  long long after = now_ns();
  close(out);
  ssize_t n;
  while ((n = read(fd, buffer, sizeof buffer - 1)) > 0 || (n < 0 && errno == EPIPE)) {
    if (n < 0) continue;
    buffer[n] = 0;
    unsigned long long us;
    if (strstr(buffer, "oom-witness-bench") && sscanf(buffer, "%*u,%*u,%llu", &us) == 1)
      printf("mark %lld %llu\n", (before + after) / 2, us);
  }
}

int main(void) {
  char buffer[16384], command[1 << 16];
  int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
  if (fd < 0) {
    perror("/dev/kmsg");
    return 1;
  }
  lseek(fd, 0, SEEK_END);
  mark(fd);
  printf("ready\n");
  fflush(stdout);
  struct pollfd fds[2] = {{fd, POLLIN, 0}, {0, POLLIN, 0}};
  for (;;) {
    poll(fds, 2, -1);
    ssize_t n;
    while ((n = read(fd, buffer, sizeof buffer - 1)) > 0 || (n < 0 && errno == EPIPE)) {
      if (n < 0) continue;
      long long arrival = now_ns();
      buffer[n] = 0;
      unsigned long long us;
      sscanf(buffer, "%*u,%*u,%llu", &us);
      char *named = strstr(buffer, ";oom-kill:") ? strstr(buffer, ",pid=") : 0;
      if (named) {
        early_pid = atoi(named + 5);
        early_length = command_line(early_pid, early, sizeof early);
        continue;
      }
      char *killed = strstr(buffer, "Killed process ");
      if (!killed) continue;
      int pid = atoi(killed + 15);
      ssize_t length = command_line(pid, command, sizeof command);
      char *text = command;
      if (length == 0 && early_pid == pid) {
        text = early;
        length = early_length;
      }
      printf("%d %llu %lld ", pid, us, arrival);
      for (ssize_t i = 0; i < length; i++) printf("%02x", (unsigned char)text[i]);
      printf("\n");
    }
    fflush(stdout);
    if (fds[1].revents) return 0;
  }
}
