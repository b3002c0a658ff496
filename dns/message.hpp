// The wire format of DNS messages (RFC 1035 §4, RFC 6891): queries read strictly and without
// allocation. Replies are written by dns/reply.hpp, whole responses read by dns/response.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rooster::dns {

inline constexpr std::size_t kHeaderBytes = 12;
inline constexpr std::size_t kMaxMessageBytes = 65535;
inline constexpr std::size_t kPlainUdpBytes = 512;  // without EDNS (RFC 1035 §4.2.1)
inline constexpr std::size_t kMaxUdpBytes = 1232;   // fits any path: no fragments (DNS flag day)
inline constexpr std::size_t kOptBytes = 11;        // an OPT record without options

enum class Rcode : std::uint16_t {
  NoError = 0,
  FormErr = 1,
  ServFail = 2,
  NxDomain = 3,
  NotImp = 4,
  Refused = 5,
  BadVers = 16,  ///< needs EDNS to be said
};

/// Record types by their number; others are carried as they are.
namespace type {
inline constexpr std::uint16_t kA = 1;
inline constexpr std::uint16_t kNs = 2;
inline constexpr std::uint16_t kCname = 5;
inline constexpr std::uint16_t kSoa = 6;
inline constexpr std::uint16_t kPtr = 12;
inline constexpr std::uint16_t kMx = 15;
inline constexpr std::uint16_t kTxt = 16;
inline constexpr std::uint16_t kAaaa = 28;
inline constexpr std::uint16_t kSrv = 33;
inline constexpr std::uint16_t kNaptr = 35;
inline constexpr std::uint16_t kDname = 39;
inline constexpr std::uint16_t kOpt = 41;
inline constexpr std::uint16_t kSvcb = 64;
inline constexpr std::uint16_t kHttps = 65;
inline constexpr std::uint16_t kTkey = 249;
inline constexpr std::uint16_t kTsig = 250;
inline constexpr std::uint16_t kIxfr = 251;
inline constexpr std::uint16_t kAxfr = 252;
inline constexpr std::uint16_t kAny = 255;
}  // namespace type
inline constexpr std::uint16_t kClassIn = 1;

namespace flag {
inline constexpr std::uint16_t kResponse = 0x8000;
inline constexpr std::uint16_t kOpcodeMask = 0x7800;
inline constexpr std::uint16_t kAuthoritative = 0x0400;
inline constexpr std::uint16_t kTruncated = 0x0200;
inline constexpr std::uint16_t kRecursionDesired = 0x0100;
inline constexpr std::uint16_t kRecursionAvailable = 0x0080;
inline constexpr std::uint16_t kAuthenticData = 0x0020;
inline constexpr std::uint16_t kCheckingDisabled = 0x0010;
inline constexpr std::uint16_t kRcodeMask = 0x000f;
}  // namespace flag

/// A bounded look at a message; every read past the end says so instead of happening.
class Reader {
 public:
  explicit Reader(std::string_view message, std::size_t at = 0) : message_(message), at_(at) {}
  std::optional<std::uint8_t> u8();
  std::optional<std::uint16_t> u16();
  std::optional<std::uint32_t> u32();
  std::optional<std::string_view> bytes(std::size_t count);
  /// A name that may not be compressed: its bytes.
  std::optional<std::string_view> plain_name();
  /// A name whose compression pointers each lead to before where they stand in turn, so that it
  /// ends; appended to `out` without compression.
  bool name(std::string& out);
  bool skip_name();
  std::size_t at() const { return at_; }
  bool at_end() const { return at_ == message_.size(); }

 private:
  template <class Label>
  bool walk_name(Label&& label);
  std::string_view message_;
  std::size_t at_;
};

struct Edns {
  std::uint16_t udp_bytes = kMaxUdpBytes;
  std::uint8_t version = 0;
  bool dnssec_ok = false;
};

/// One question. The views lie in the datagram it was read from.
struct Query {
  std::uint16_t id = 0;
  std::uint16_t flags = 0;  ///< as they came
  /// Anything but NoError: not to be answered from data, but with this.
  Rcode rcode = Rcode::NoError;
  std::string_view question{};  ///< name, type, class; empty where it could not be read
  std::string_view name{};      ///< wire form, in the asker's case
  std::uint16_t type = 0;
  std::uint16_t klass = 0;
  std::optional<Edns> edns{};

  bool wants_recursion() const { return (flags & flag::kRecursionDesired) != 0; }
  /// The largest UDP answer that may be sent.
  std::size_t udp_limit() const;
};

/// Reads a query. Nothing where no answer may be given: shorter than a header, or itself a response
/// (two servers would answer each other for ever).
std::optional<Query> read_query(std::string_view message);

}  // namespace rooster::dns
