// The clock of a redis-server as the test sets it: microseconds since 1970, read from a file. Preloaded.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *now_us;

__attribute__((constructor)) static void open_clock(void) {
  int file = open(getenv("MODEL_CLOCK"), O_RDONLY);
  void *mapped = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *now_us, PROT_READ, MAP_SHARED, file, 0);
  if (mapped == MAP_FAILED) abort();
  now_us = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  // The steady clock, too: Valkey adds what it measures by that to a time of day that it has read before.
  int is_set = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_MONOTONIC;
  if (!now_us || !is_set) return syscall(SYS_clock_gettime, clock, time);
  int64_t now = *now_us;
  time->tv_sec = now / 1000000;
  time->tv_nsec = now % 1000000 * 1000;
  return 0;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  time->tv_sec = now.tv_sec;
  time->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *to) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (to) *to = now.tv_sec;
  return now.tv_sec;
}
