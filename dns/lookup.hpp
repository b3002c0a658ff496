// The asking side, without I/O: a query's bytes, frames of a TCP stream, and a response as dig
// prints it.
#pragma once

#include "core/address.hpp"
#include "core/error.hpp"
#include "dns/record_text.hpp"
#include "dns/response.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::dns {

struct Question {
  std::string name{};  ///< presentation form, with or without the final dot
  std::uint16_t type = type::kAaaa;
  bool recursion_desired = true;
  std::uint16_t udp_bytes = kMaxUdpBytes;  ///< 0: without EDNS
  bool dnssec_ok = false;
};

/// Nothing if the name is none. `id` should be random.
std::optional<std::string> make_query(const Question& question, std::uint16_t id);
/// Does the response answer this query: same id, same question?
bool answers(const Response& response, std::string_view query);

/// Behind its two length bytes, as a stream carries it (RFC 1035 §4.2.2).
std::string frame(std::string_view message);
/// The first whole message of a stream; takes it off. Nothing while more bytes are needed.
std::optional<std::string_view> take_frame(std::string_view& stream);

/// The name under ip6.arpa or in-addr.arpa where PTR is asked for.
std::string reverse_name(const IpAddress& address);

/// The addresses among the answers (A and AAAA), in their order.
std::vector<IpAddress> addresses_in(const Response& response);
/// The TXT answers, each with its strings joined.
std::vector<std::string> texts_in(const Response& response);
/// The answers' data alone, a line each: what dig +short prints.
std::vector<std::string> short_lines(const Response& response);
/// The whole message by sections, as dig prints it.
std::string to_text(const Response& response);

}  // namespace rooster::dns
