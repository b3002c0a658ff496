// Response: a whole DNS message read into records whose names stand without compression; and
// written again by a Reply.
#pragma once

#include "dns/message.hpp"
#include "dns/reply.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::dns {

struct Record {
  std::string owner{};  ///< wire form
  std::uint16_t type = 0;
  std::uint16_t klass = kClassIn;
  std::uint32_t ttl = 0;
  std::string data{};  ///< names in it in full (RFC 3597 §4)
};

struct Response {
  std::uint16_t id = 0;
  std::uint16_t flags = 0;
  std::uint16_t rcode = 0;  ///< with EDNS's upper bits
  std::string name{};       ///< of the question, wire form; empty: no question
  std::uint16_t type = 0;
  std::uint16_t klass = 0;
  std::array<std::vector<Record>, 3> sections{};  ///< by Section; without OPT
  std::optional<Edns> edns{};
  std::uint16_t explanation = 0;  ///< RFC 8914 code, where explanation_text or it is given
  std::string explanation_text{};

  const std::vector<Record>& section(Section which) const {
    return sections[static_cast<std::size_t>(which)];
  }
  std::vector<Record>& section(Section which) { return sections[static_cast<std::size_t>(which)]; }
};

/// Nothing if any byte of it is out of place.
std::optional<Response> read_response(std::string_view message);

/// Where names stand in the data of a record: behind `skip` bytes, `names` of them, then the rest.
struct NamesInData {
  std::size_t skip;
  std::size_t names;
};
/// For types whose names may be compressed; nothing for all others.
std::optional<NamesInData> names_in_data(std::uint16_t type);

/// One record into the reply, its data's names compressed where RFC 3597 allows it. False: full.
bool write_record(Reply& reply, Section section, const Record& record, std::uint32_t ttl);

}  // namespace rooster::dns
