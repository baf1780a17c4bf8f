/*
 * named NAME LIVE_MS [TEXT...]: gives itself a name (comm) and then eats memory until it is killed. `\xNN` in NAME is a
 * byte, so that a name can be what no argument and no file name can be.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define STEP (64 * 1024)
#define MOST (1024L * 1024 * 1024)

int main(int argc, char **argv) {
  char name[16] = {0};
  size_t length = 0;
  unsigned byte;
  if (argc < 3) return 2;
  for (const char *at = argv[1]; *at && length < 15; length++) {
    if (sscanf(at, "\\x%2x", &byte) == 1) {
      name[length] = (char)byte;
      at += 4;
    } else {
      name[length] = *at++;
    }
  }
  if (prctl(PR_SET_NAME, name) < 0) return 4;
  usleep(atol(argv[2]) * 1000);
  for (long total = 0; total < MOST; total += STEP) {
    char *p = mmap(0, STEP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) break;
    memset(p, 1, STEP);
  }
  return 3;
}
