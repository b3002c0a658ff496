/* What lwIP takes from its surroundings: the clock, randomness, sequence numbers, checksums. */
#include <errno.h>
#include <lwip/ip_addr.h>
#include <lwip/sys.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "rooster_hooks.h"

static uint64_t nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

u32_t sys_now(void) { return (u32_t)(nanoseconds() / 1000000u); }

static void fill_random(void* out, size_t size) {
  size_t done = 0;
  while (done < size) {
    const ssize_t got = getrandom((char*)out + done, size - done, 0);
    if (got > 0) done += (size_t)got;
    if (got < 0 && errno != EINTR) abort(); /* a kernel without randomness: nothing is safe */
  }
}

uint32_t rooster_lwip_random(void) {
  static uint32_t pool[64];
  static size_t left = 0;
  if (left == 0) {
    fill_random(pool, sizeof pool);
    left = sizeof pool / sizeof pool[0];
  }
  return pool[--left];
}

uint32_t rooster_lwip_initial_sequence(const ip_addr_t* local, uint16_t local_port,
                                       const ip_addr_t* remote, uint16_t remote_port) {
  static uint8_t secret[32];
  static int has_secret = 0;
  uint8_t input[sizeof secret + 36];
  uint8_t digest[SHA256_DIGEST_LENGTH];
  uint32_t offset;
  if (!has_secret) {
    fill_random(secret, sizeof secret);
    has_secret = 1;
  }
  memcpy(input, secret, sizeof secret);
  memcpy(input + 32, ip_2_ip6(local)->addr, 16);
  memcpy(input + 48, ip_2_ip6(remote)->addr, 16);
  memcpy(input + 64, &local_port, 2);
  memcpy(input + 66, &remote_port, 2);
  SHA256(input, sizeof input, digest);
  OPENSSL_cleanse(input, sizeof input);
  memcpy(&offset, digest, sizeof offset);
  return (uint32_t)(nanoseconds() / 4000u) + offset;
}

uint16_t rooster_lwip_checksum(const void* bytes, int size) {
  const uint8_t* at = bytes;
  uint64_t sum = 0;
  /* 32-bit words into 64 bits: carries are folded once, and compilers make it wide. */
  for (; size >= 4; size -= 4, at += 4) {
    uint32_t word;
    memcpy(&word, at, sizeof word);
    sum += word;
  }
  if (size > 0) {
    uint32_t word = 0;
    memcpy(&word, at, (size_t)size);
    sum += word;
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)sum;
}
