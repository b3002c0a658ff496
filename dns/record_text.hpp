// Types, codes and record data as people write them (RFC 1035 §5.1, RFC 3597 §5).
#pragma once

#include "dns/response.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rooster::dns {

/// "AAAA", or "TYPE65280" where it has no name here.
std::string type_to_text(std::uint16_t type);
/// Whatever the case; also "TYPE<n>".
std::optional<std::uint16_t> type_from_text(std::string_view text);
std::string class_to_text(std::uint16_t klass);
/// "NXDOMAIN", or "RCODE<n>".
std::string rcode_to_text(std::uint16_t rcode);
/// One record's data on one line; in the generic form where its type or its bytes are unknown.
std::string data_to_text(const Record& record);

}  // namespace rooster::dns
