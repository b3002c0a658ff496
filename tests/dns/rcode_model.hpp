// What any bytes must be answered with, said a second time and in another way than dns/ says it:
// byte by byte, without sharing its code.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace rooster::dns::testing {

struct Expected {
  enum class Kind { Silence, Code, Recursion };
  Kind kind;
  unsigned rcode = 0;        ///< Kind::Code
  std::size_t most_udp = 0;  ///< bytes that a datagram may have
};

/// For an asker in the village of village.hpp.
Expected expected_of(const std::string& query);

}  // namespace rooster::dns::testing
