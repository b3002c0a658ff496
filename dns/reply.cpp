#include "dns/reply.hpp"

#include "dns/name.hpp"

#include <cassert>
#include <cstring>

namespace rooster::dns {
namespace {

constexpr std::size_t kMaxPointer = 0x3fff;
constexpr std::size_t kStringBytes = 255;  // of one character-string (RFC 1035 §3.3)

std::size_t index(Section section) {
  return static_cast<std::size_t>(section);
}

}  // namespace

Reply::Reply(std::span<char> out, const Query& query, Carrier carrier)
    : out_(out), query_(query), carrier_(carrier), limit_(limit(query, carrier)) {
  assert(out.size() >= limit_);
  if (query.edns) limit_ -= kOptBytes;
  constexpr std::uint16_t kept =
      flag::kOpcodeMask | flag::kRecursionDesired | flag::kCheckingDisabled;
  flags_ = static_cast<std::uint16_t>((query.flags & kept) | flag::kResponse |
                                      flag::kRecursionAvailable);
  bytes(query.question);
  records_at_ = at_;
  if (query.question.empty()) return;
  std::size_t label = 0;
  while (query.name[label] != '\0' && known_names_ < kKnownNames) {
    known_[known_names_++] = static_cast<std::uint16_t>(kHeaderBytes + label);
    label += static_cast<std::size_t>(query.name[label]) + 1;
  }
}

void Reply::explain(Explanation why, std::string_view text) {
  explanation_ = static_cast<std::uint16_t>(why);
  explanation_text_ = text;
}

bool Reply::has_room(std::size_t count) {
  if (overflowed_ || limit_ - at_ < count) overflowed_ = true;
  return !overflowed_;
}

void Reply::patch16(std::size_t at, std::size_t value) {
  out_[at] = static_cast<char>(value >> 8);
  out_[at + 1] = static_cast<char>(value);
}

void Reply::u8(std::uint8_t value) {
  if (has_room(1)) out_[at_++] = static_cast<char>(value);
}

void Reply::u16(std::uint16_t value) {
  if (!has_room(2)) return;
  patch16(at_, value);
  at_ += 2;
}

void Reply::u32(std::uint32_t value) {
  u16(static_cast<std::uint16_t>(value >> 16));
  u16(static_cast<std::uint16_t>(value));
}

void Reply::bytes(std::string_view content) {
  if (content.empty() || !has_room(content.size())) return;
  std::memcpy(out_.data() + at_, content.data(), content.size());
  at_ += content.size();
}

// Byte for byte, so that a compressed name keeps its case.
bool Reply::stands_at(std::size_t at, std::string_view wire) const {
  while (true) {
    const auto length = static_cast<unsigned char>(out_[at]);
    if (length > kMaxLabelBytes) {
      at = static_cast<std::size_t>(length & 0x3f) << 8 | static_cast<unsigned char>(out_[at + 1]);
      continue;
    }
    if (out_[at] != wire.front()) return false;
    if (std::memcmp(out_.data() + at, wire.data(), length + 1u) != 0) return false;
    if (length == 0) return true;
    at += length + 1u;
    wire.remove_prefix(length + 1u);
  }
}

std::size_t Reply::find_name(std::string_view wire) const {
  for (std::size_t i = 0; i < known_names_; ++i) {
    // A label that differs in its first byte, its length, is the usual case.
    if (out_[known_[i]] == wire.front() && stands_at(known_[i], wire)) return known_[i];
  }
  return 0;
}

// Its labels become known once it is whole: until then what follows them is not there.
void Reply::name(std::string_view wire) {
  std::size_t known_after = known_names_;
  while (wire.front() != '\0') {
    if (const std::size_t known = find_name(wire); known != 0) {
      u16(static_cast<std::uint16_t>(0xc000 | known));
      known_names_ = known_after;
      return;
    }
    const std::size_t label = static_cast<std::size_t>(wire.front()) + 1;
    const std::size_t began = at_;
    bytes(wire.substr(0, label));
    if (overflowed_) return;
    wire.remove_prefix(label);
    if (began > kMaxPointer || known_after == kKnownNames) continue;
    known_[known_after++] = static_cast<std::uint16_t>(began);
  }
  u8(0);
  if (!overflowed_) known_names_ = known_after;
}

void Reply::begin(Section section, std::string_view owner, std::uint16_t type, std::uint32_t ttl,
                  std::uint16_t klass) {
  assert(section >= section_);
  section_ = section;
  record_at_ = at_;
  known_names_before_ = known_names_;
  text_at_ = 0;
  if (is_full_) overflowed_ = true;
  name(owner);
  u16(type);
  u16(klass);
  u32(ttl);
  length_at_ = at_;
  u16(0);
}

void Reply::text(std::string_view characters) {
  while (!characters.empty() && !overflowed_) {
    if (text_at_ == 0 || at_ - text_at_ - 1 == kStringBytes) {
      text_at_ = at_;
      u8(0);
    }
    const std::size_t room = kStringBytes - (at_ - text_at_ - 1);
    const auto piece = characters.substr(0, room);
    bytes(piece);
    if (overflowed_) return;
    out_[text_at_] = static_cast<char>(at_ - text_at_ - 1);
    characters.remove_prefix(piece.size());
  }
}

void Reply::rewind(const Mark& mark) {
  at_ = mark.at;
  text_at_ = mark.text_at;
  if (text_at_ != 0) out_[text_at_] = mark.text_length;
  overflowed_ = false;
}

// What was found and did not fit: all of it is asked for again over TCP.
void Reply::drop_all() {
  at_ = records_at_;
  counts_ = {};
  known_names_ = 0;
  flags_ |= flag::kTruncated;
}

void Reply::cancel() {
  at_ = record_at_;
  known_names_ = known_names_before_;
  overflowed_ = false;
}

bool Reply::end() {
  if (!overflowed_) {
    patch16(length_at_, at_ - length_at_ - 2);
    ++counts_[index(section_)];
    return true;
  }
  cancel();
  const bool is_needed =
      section_ == Section::Answer || (section_ == Section::Authority && counts_[0] == 0);
  if (!is_full_ && is_needed && carrier_ == Carrier::Datagram) drop_all();
  is_full_ = true;
  return false;
}

void Reply::write_opt() {
  const auto code = static_cast<std::uint16_t>(rcode_);
  u8(0);
  u16(type::kOpt);
  u16(kMaxUdpBytes);
  u8(static_cast<std::uint8_t>(code >> 4));
  u8(0);  // version
  u16(query_.edns->dnssec_ok ? 0x8000 : 0);
  const std::size_t length_at = at_;
  u16(0);
  const std::size_t option_bytes = 6 + explanation_text_.size();
  if (explanation_ != 0 && limit_ - at_ >= option_bytes) {
    u16(15);  // Extended DNS Error
    u16(static_cast<std::uint16_t>(option_bytes - 4));
    u16(explanation_);
    bytes(explanation_text_);
  }
  patch16(length_at, at_ - length_at - 2);
  ++counts_[index(Section::Additional)];
}

std::size_t Reply::finish() {
  overflowed_ = false;
  if (query_.edns) {
    limit_ += kOptBytes;
    write_opt();
  }
  patch16(0, query_.id);
  patch16(2, flags_ | (static_cast<std::uint16_t>(rcode_) & flag::kRcodeMask));
  patch16(4, query_.question.empty() ? 0 : 1);
  for (std::size_t i = 0; i < counts_.size(); ++i) patch16(6 + 2 * i, counts_[i]);
  return at_;
}

}  // namespace rooster::dns
