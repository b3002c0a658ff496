// Which content coding a response gets (RFC 9110 §8.4, §12.5.3): pure functions of the two heads.
#pragma once

#include "config/app_config.hpp"
#include "proxy/request_head.hpp"
#include "proxy/response_head.hpp"

#include <cstdint>
#include <span>
#include <string_view>

namespace rooster::proxy {

enum class Coding : std::uint8_t { Identity, Gzip, Brotli, Zstd };

/// As it stands in Content-Encoding; "" for Identity.
std::string_view coding_name(Coding coding);

/// The client's dearest of what we have: by weight, then zstd, br, gzip. Identity where it accepts
/// none, or asks for identity with a greater weight than for any.
Coding choose_coding(const RequestHead& request);

/// Would a body of this Content-Type become much smaller? Never true of an event stream: it lasts
/// long, and each would hold an encoder's memory for as long.
bool is_compressible_type(std::string_view content_type);

/// Could this response be compressed for a client that accepts it? By status, type, the app's word
/// (an encoding already, no-transform, a digest of the bytes) and the operator's rules. Its length
/// doesn't count here.
bool may_be_compressed(const ResponseHead& response, std::span<const config::HeaderRule> rules);

}  // namespace rooster::proxy
