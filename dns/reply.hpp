// Reply: writes the answer to one query into a lent buffer, with name compression, and never more
// than the asker takes.
#pragma once

#include "dns/message.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace rooster::dns {

enum class Section : std::uint8_t { Answer, Authority, Additional };

/// How the reply travels. A datagram that does not hold the answer says so (TC) and stays empty; a
/// stream holds as many records as 65535 bytes do.
enum class Carrier : std::uint8_t { Datagram, Stream };

/// RFC 8914: why, for whoever asked with EDNS.
enum class Explanation : std::uint16_t {
  StaleAnswer = 3,
  Prohibited = 18,
  NoReachableAuthority = 22,
  NetworkError = 23,
};

class Reply {
 public:
  /// `out` must hold limit() bytes: kMaxMessageBytes for a stream, else query.udp_limit(). The
  /// query outlives the reply.
  Reply(std::span<char> out, const Query& query, Carrier carrier);
  static std::size_t limit(const Query& query, Carrier carrier) {
    return carrier == Carrier::Stream ? kMaxMessageBytes : query.udp_limit();
  }

  void set_rcode(Rcode rcode) { rcode_ = rcode; }
  void set_authoritative() { flags_ |= flag::kAuthoritative; }
  void explain(Explanation why, std::string_view text);

  /// A record is begin(), its data, end(). Sections come in their order. `owner` in wire form.
  void begin(Section section, std::string_view owner, std::uint16_t type, std::uint32_t ttl,
             std::uint16_t klass = kClassIn);
  void u8(std::uint8_t value);
  void u16(std::uint16_t value);
  void u32(std::uint32_t value);
  void bytes(std::string_view bytes);
  void name(std::string_view wire);
  /// Characters of a TXT record, cut into strings of at most 255 bytes by themselves.
  void text(std::string_view characters);
  /// False: it did not fit, was taken back, and nothing more will fit.
  bool end();
  /// Takes the begun record back.
  void cancel();

  /// A place inside a record to come back to.
  struct Mark {
    std::size_t at;
    std::size_t text_at;
    char text_length;
  };
  Mark mark() const { return {at_, text_at_, text_at_ == 0 ? '\0' : out_[text_at_]}; }
  void rewind(const Mark& mark);
  bool overflowed() const { return overflowed_; }
  /// Some record did not fit.
  bool is_full() const { return is_full_; }
  Carrier carrier() const { return carrier_; }

  /// Adds OPT where the query had it, completes the header; the message's size.
  std::size_t finish();

 private:
  bool has_room(std::size_t count);
  void patch16(std::size_t at, std::size_t value);
  void drop_all();
  std::size_t find_name(std::string_view wire) const;
  bool stands_at(std::size_t at, std::string_view wire) const;
  void write_opt();

  std::span<char> out_;
  const Query& query_;
  Carrier carrier_;
  std::size_t limit_;  // without the room kept for OPT
  std::size_t at_ = kHeaderBytes;
  std::size_t records_at_ = kHeaderBytes;  // behind the question
  std::uint16_t flags_ = 0;
  Rcode rcode_ = Rcode::NoError;
  std::array<std::uint16_t, 3> counts_{};
  Section section_ = Section::Answer;
  std::size_t record_at_ = 0;
  std::size_t length_at_ = 0;
  std::size_t text_at_ = 0;  // the length byte of the string being written; 0: none
  std::size_t known_names_before_ = 0;
  bool overflowed_ = false;
  bool is_full_ = false;
  std::uint16_t explanation_ = 0;
  std::string_view explanation_text_;

  static constexpr std::size_t kKnownNames = 64;    // later names are written in full
  std::array<std::uint16_t, kKnownNames> known_{};  // where names, and what follows a label, begin
  std::size_t known_names_ = 0;
};

}  // namespace rooster::dns
