/* Says when a line was there: copies standard input to standard output and ends each line with ` NS`, CLOCK_MONOTONIC. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char buffer[1 << 16];

int main(void) {
  ssize_t n;
  while ((n = read(0, buffer, sizeof buffer)) > 0) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    char *from = buffer, *end;
    while ((end = memchr(from, '\n', buffer + n - from)) != 0) {
      fwrite(from, 1, end - from, stdout);
      printf(" %lld\n", now.tv_sec * 1000000000LL + now.tv_nsec);
      from = end + 1;
    }
    fwrite(from, 1, buffer + n - from, stdout);
    fflush(stdout);
  }
  return n < 0;
}
