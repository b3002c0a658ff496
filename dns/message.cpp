#include "dns/message.hpp"

#include "dns/name.hpp"

#include <algorithm>

namespace rooster::dns {
namespace {

constexpr std::uint8_t kPointer = 0xc0;

std::uint8_t byte_of(char c) {
  return static_cast<std::uint8_t>(c);
}

/// The OPT record behind its type (RFC 6891 §6.1): false if its options do not add up.
bool read_opt(Reader& reader, Edns& edns) {
  const auto size = reader.u16();
  const auto extended = reader.u32();
  const auto length = reader.u16();
  if (!size || !extended || !length) return false;
  const auto options = reader.bytes(*length);
  if (!options) return false;
  Reader inner(*options);
  while (!inner.at_end()) {
    const auto code = inner.u16();
    const auto option_length = inner.u16();
    if (!code || !option_length || !inner.bytes(*option_length)) return false;
  }
  edns = {.udp_bytes = *size,
          .version = static_cast<std::uint8_t>(*extended >> 16),
          .dnssec_ok = (*extended & 0x8000) != 0};
  return true;
}

/// What stands behind the question: only additional records, at most one of them OPT, and no byte
/// more.
bool read_additional(Reader& reader, std::size_t count, Query& query) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t owner_at = reader.at();
    if (!reader.skip_name()) return false;
    const bool is_root = reader.at() == owner_at + 1;
    const auto type = reader.u16();
    if (!type) return false;
    if (*type == type::kOpt) {
      Edns edns;
      if (query.edns || !is_root || !read_opt(reader, edns)) return false;
      query.edns = edns;
      continue;
    }
    const auto klass = reader.u16();
    const auto ttl = reader.u32();
    const auto length = reader.u16();
    if (!klass || !ttl || !length || !reader.bytes(*length)) return false;
  }
  return reader.at_end();
}

bool read_question(Reader& reader, std::string_view message, Query& query) {
  const std::size_t begin = reader.at();
  const auto name = reader.plain_name();
  if (!name) return false;
  const auto type = reader.u16();
  const auto klass = reader.u16();
  if (!type || !klass) return false;
  query.name = *name;
  query.type = *type;
  query.klass = *klass;
  query.question = message.substr(begin, reader.at() - begin);
  return true;
}

}  // namespace

std::optional<std::uint8_t> Reader::u8() {
  if (message_.size() - at_ < 1) return std::nullopt;
  return byte_of(message_[at_++]);
}

std::optional<std::uint16_t> Reader::u16() {
  if (message_.size() - at_ < 2) return std::nullopt;
  const auto value =
      static_cast<std::uint16_t>(byte_of(message_[at_]) << 8 | byte_of(message_[at_ + 1]));
  at_ += 2;
  return value;
}

std::optional<std::uint32_t> Reader::u32() {
  if (message_.size() - at_ < 4) return std::nullopt;
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8 | byte_of(message_[at_ + i]);
  at_ += 4;
  return value;
}

std::optional<std::string_view> Reader::bytes(std::size_t count) {
  if (message_.size() - at_ < count) return std::nullopt;
  const auto found = message_.substr(at_, count);
  at_ += count;
  return found;
}

std::optional<std::string_view> Reader::plain_name() {
  std::size_t at = at_;
  while (true) {
    if (at >= message_.size()) return std::nullopt;
    const std::size_t length = byte_of(message_[at]);
    if (length > kMaxLabelBytes) return std::nullopt;
    at += length + 1;
    if (at - at_ > kMaxNameBytes || at > message_.size()) return std::nullopt;
    if (length == 0) break;
  }
  const auto name = message_.substr(at_, at - at_);
  at_ = at;
  return name;
}

// RFC 1035 §4.1.4. `behind` is where reading goes on: after the first pointer.
template <class Label>
bool Reader::walk_name(Label&& label) {
  std::size_t at = at_;
  std::size_t lowest = at_;
  std::size_t total = 0;
  std::optional<std::size_t> behind;
  while (true) {
    if (at >= message_.size()) return false;
    const std::size_t length = byte_of(message_[at]);
    if (length >= kPointer) {
      if (at + 1 >= message_.size()) return false;
      const std::size_t target = (length & 0x3f) << 8 | byte_of(message_[at + 1]);
      if (target >= lowest || target < kHeaderBytes) return false;
      if (!behind) behind = at + 2;
      at = lowest = target;
      continue;
    }
    total += length + 1;
    if (length > kMaxLabelBytes || total > kMaxNameBytes || at + length + 1 > message_.size()) {
      return false;
    }
    label(message_.substr(at, length + 1));
    at += length + 1;
    if (length == 0) break;
  }
  at_ = behind.value_or(at);
  return true;
}

bool Reader::name(std::string& out) {
  return walk_name([&](std::string_view label) { out += label; });
}

bool Reader::skip_name() {
  return walk_name([](std::string_view) {});
}

std::size_t Query::udp_limit() const {
  if (!edns) return kPlainUdpBytes;
  // Less than 512 counts as 512 (RFC 6891 §6.2.5).
  return std::clamp<std::size_t>(edns->udp_bytes, kPlainUdpBytes, kMaxUdpBytes);
}

std::optional<Query> read_query(std::string_view message) {
  if (message.size() < kHeaderBytes) return std::nullopt;
  Reader reader(message);
  Query query;
  query.id = *reader.u16();
  query.flags = *reader.u16();
  if ((query.flags & flag::kResponse) != 0) return std::nullopt;
  const std::uint16_t questions = *reader.u16();
  const std::uint16_t answers = *reader.u16();
  const std::uint16_t authorities = *reader.u16();
  const std::uint16_t additional = *reader.u16();
  if ((query.flags & flag::kOpcodeMask) != 0) {
    query.rcode = Rcode::NotImp;
    return query;
  }
  const bool well_formed = questions == 1 && answers == 0 && authorities == 0 &&
                           read_question(reader, message, query) &&
                           read_additional(reader, additional, query);
  if (!well_formed || query.type == 0 || query.type == type::kOpt) {
    query.rcode = Rcode::FormErr;
  } else if (query.edns && query.edns->version != 0) {
    query.rcode = Rcode::BadVers;
  }
  return query;
}

}  // namespace rooster::dns
