/*
 * stuck FOLDER: mounts a file system on FOLDER, in a mount namespace of its own, whose server does not answer; and starts a
 * process that waits for it with the lock of its address space held, as one does that maps files of a dead server. Prints
 * the pid of that one as soon as it is so. Both end when this process is killed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096
#define FILE_INODE 2

static int device;

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void reply(uint64_t unique, int error, const void *data, size_t length) {
  char message[PAGE];
  struct fuse_out_header header = {.len = sizeof header + length, .error = error, .unique = unique};
  memcpy(message, &header, sizeof header);
  if (length > 0) memcpy(message + sizeof header, data, length);
  if (write(device, message, header.len) < 0) die("reply");
}

static struct fuse_attr attributes(uint64_t inode) {
  struct fuse_attr attr = {.ino = inode, .nlink = 1, .mode = S_IFDIR | 0755};
  if (inode == FILE_INODE) {
    attr.mode = S_IFREG | 0644;
    attr.size = PAGE;
  }
  return attr;
}

static volatile char *page;

static void *touch(void *unused) {
  (void)page[0];
  return unused;
}

/* A page fault waits with the lock held once it is tried again; whoever wants the lock for writing then keeps all others from it. */
static void be_stuck(const char *folder, int go) {
  char path[PAGE], byte;
  pthread_t thread;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  close(device);
  snprintf(path, sizeof path, "%s/file", folder);
  int fd = open(path, O_RDONLY);
  if (fd < 0) die(path);
  page = mmap(0, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
  if (page == MAP_FAILED) die("mmap");
  if (pthread_create(&thread, 0, touch, 0) != 0) die("thread");
  if (read(go, &byte, 1) != 1) die("go");
  mmap(0, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  _exit(2);
}

static int waits_in_kernel(pid_t pid) {
  char path[64], text[PAGE];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  int fd = open(path, O_RDONLY);
  ssize_t length = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  if (length <= 0) exit(1);
  text[length] = 0;
  return !strncmp(strrchr(text, ')'), ") D", 3);
}

int main(int argc, char **argv) {
  static char request[1 << 20];
  char options[128];
  int go[2], reads = 0;
  if (argc != 2) return 2;
  device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (device < 0) die("/dev/fuse");
  if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", 0, MS_REC | MS_PRIVATE, 0) < 0) die("namespace");
  snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
  if (mount("stuck", argv[1], "fuse", 0, options) < 0) die("mount");
  if (pipe(go) < 0) die("pipe");
  pid_t pid = fork();
  if (pid == 0) be_stuck(argv[1], go[0]);
  for (;;) {
    if (read(device, request, sizeof request) < 0) {
      if (errno == EINTR || errno == ENOENT) continue;
      die("device");
    }
    const struct fuse_in_header *in = (const void *)request;
    switch (in->opcode) {
      case FUSE_INIT: {
        struct fuse_init_out out = {.major = 7, .minor = 31, .max_write = PAGE, .time_gran = 1};
        reply(in->unique, 0, &out, sizeof out);
        break;
      }
      case FUSE_LOOKUP: {
        struct fuse_entry_out out = {.nodeid = FILE_INODE, .entry_valid = 1000, .attr_valid = 1000};
        out.attr = attributes(FILE_INODE);
        reply(in->unique, 0, &out, sizeof out);
        break;
      }
      case FUSE_GETATTR: {
        struct fuse_attr_out out = {.attr_valid = 1000, .attr = attributes(in->nodeid)};
        reply(in->unique, 0, &out, sizeof out);
        break;
      }
      case FUSE_OPEN: {
        struct fuse_open_out out = {.fh = 1};
        reply(in->unique, 0, &out, sizeof out);
        break;
      }
      case FUSE_READ:
        /* The first time the lock is not held: it is to be tried again. */
        if (++reads == 1) {
          reply(in->unique, -EIO, 0, 0);
          break;
        }
        if (write(go[1], "", 1) != 1) die("go");
        while (!waits_in_kernel(pid)) usleep(1000);
        printf("%d\n", pid);
        fflush(stdout);
        break;
      case FUSE_FORGET:
        break;
      default:
        reply(in->unique, -ENOSYS, 0, 0);
    }
  }
}
