// The Internet checksum (RFC 1071), as sums that can be added up before they are folded.
#pragma once

#include "core/address.hpp"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace rooster::tunnel {

/// The ones' complement sum of `bytes` as 16-bit words in memory order, added to `sum`. An odd last
/// byte counts as a word with a zero behind it: only the last part of a message may be odd.
inline std::uint64_t add_checksum(std::uint64_t sum, std::span<const std::uint8_t> bytes) {
  const std::uint8_t* at = bytes.data();
  std::size_t left = bytes.size();
  // Four independent sums: the additions of one turn do not wait for each other. Words of 32 bits
  // in 64-bit sums cannot overflow for any packet.
  std::uint64_t lanes[4] = {};
  while (left >= 16) {
    std::uint32_t words[4];
    std::memcpy(words, at, sizeof words);
    for (int i = 0; i < 4; ++i) lanes[i] += words[i];
    at += 16;
    left -= 16;
  }
  sum += lanes[0] + lanes[1] + lanes[2] + lanes[3];
  while (left >= 2) {
    std::uint16_t word;
    std::memcpy(&word, at, sizeof word);
    sum += word;
    at += 2;
    left -= 2;
  }
  if (left == 1) {
    const std::uint8_t last[2] = {*at, 0};
    std::uint16_t word;
    std::memcpy(&word, last, sizeof word);
    sum += word;
  }
  return sum;
}

/// The sum in 16 bits, in memory order, not inverted.
inline std::uint16_t fold_checksum(std::uint64_t sum) {
  while ((sum >> 16) != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(sum);
}

inline void put_u16(std::uint8_t* at, std::size_t value) {
  at[0] = static_cast<std::uint8_t>(value >> 8);
  at[1] = static_cast<std::uint8_t>(value);
}
inline void put_u32(std::uint8_t* at, std::uint32_t value) {
  put_u16(at, value >> 16);
  put_u16(at + 2, value & 0xffff);
}
inline std::uint16_t get_u16(const std::uint8_t* at) {
  return static_cast<std::uint16_t>((at[0] << 8) | at[1]);
}
inline std::uint32_t get_u32(const std::uint8_t* at) {
  return (std::uint32_t{get_u16(at)} << 16) | get_u16(at + 2);
}

/// The sum of the pseudo header: `addresses` is both addresses as they stand in the IP header
/// (8 or 32 bytes), `bytes` the length of what the checksum covers.
inline std::uint64_t pseudo_header_sum(std::span<const std::uint8_t> addresses,
                                       std::uint8_t protocol, std::size_t bytes) {
  std::uint8_t rest[8] = {};
  put_u32(rest, static_cast<std::uint32_t>(bytes));
  rest[7] = protocol;
  return add_checksum(add_checksum(0, addresses), rest);
}

}  // namespace rooster::tunnel
