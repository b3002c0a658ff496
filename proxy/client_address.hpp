// Who the client is: address ranges, and X-Forwarded-For as far as it is believed
// (trusted_proxies).
#pragma once

#include "core/address.hpp"
#include "core/error.hpp"
#include "proxy/request_head.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace rooster::proxy {

/// A compiled list of ranges: "10.0.0.0/8", "2001:db8::/32" or single addresses.
class CidrList {
 public:
  /// Errors: Internal, with the entry that isn't a range as detail.
  static Result<CidrList> compile(std::span<const std::string> ranges);
  bool contains(const IpAddress& address) const;
  bool empty() const { return ranges_.empty(); }

 private:
  struct Range {
    IpAddress base;
    std::uint8_t bits = 128;  ///< of the 16-byte form: an IPv4 prefix counts 96 more
  };
  std::vector<Range> ranges_;
};

/// The client behind `peer`: the peer itself unless it is trusted, else X-Forwarded-For from right
/// to left up to the first address that isn't trusted. An element that is no address ends the walk
/// at the last one believed.
IpAddress client_address(const IpAddress& peer, const RequestHead& head, const CidrList& trusted);

}  // namespace rooster::proxy
