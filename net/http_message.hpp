// The messages of the project's own small HTTP/1.1 server and client (admin API, command line,
// checks): values, read whole. The proxied traffic has its own parser in proxy/.
#pragma once

#include "core/address.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace rooster::net {

using Fields = std::vector<std::pair<std::string, std::string>>;

/// Who is at the other end of a unix socket, as the kernel says.
struct PeerCredentials {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

struct HttpRequest {
  std::string method = "GET";
  std::string target = "/";  ///< as sent: path and query
  Fields fields;             ///< as sent, in order
  std::string body;
  std::optional<PeerCredentials> peer;  ///< only over a unix socket that was accepted here
  std::optional<IpAddress> source;      ///< only on an adopted connection: who calls

  /// The first field of that name, in any case; "" if there is none.
  std::string_view field(std::string_view name) const;
  /// The target up to its "?".
  std::string_view path() const;
  /// The decoded value of a query parameter; nullopt if it is not there ("?follow" gives "").
  std::optional<std::string> query(std::string_view name) const;
};

struct HttpResponse {
  int status = 0;
  Fields fields;
  std::string body;

  std::string_view field(std::string_view name) const;
};

/// Percent-decoding, with "+" as a space; wrong escapes stay as they are.
std::string decode_query(std::string_view text);
/// Percent-encodes all but unreserved characters (RFC 3986 §2.3).
std::string encode_query(std::string_view text);

}  // namespace rooster::net
