#include "proxy/pg_start.hpp"

#include <algorithm>

namespace rooster::proxy {

namespace {

constexpr std::uint32_t kTlsCode = 80877103;
constexpr std::uint32_t kGssCode = 80877104;
constexpr std::uint32_t kCancelCode = 80877102;
constexpr std::uint32_t kCancelBytes = 16;
constexpr std::uint32_t kMaxStartup = 10'000;  // the server's own bound
constexpr std::uint32_t kOldestVersion = 2;

std::uint32_t number32(std::string_view bytes) {
  std::uint32_t value = 0;
  for (const char byte : bytes.substr(0, 4)) {
    value = value << 8U | static_cast<unsigned char>(byte);
  }
  return value;
}

void put_field(std::string& to, char kind, std::string_view text) {
  to += kind;
  to += text;
  to += '\0';
}

}  // namespace

PgRequest peek_pg_request(std::string_view bytes) {
  if (!bytes.empty() && bytes[0] != '\0') return PgRequest::Foreign;
  if (bytes.size() < kPgRequestBytes) return PgRequest::NeedMore;
  const std::uint32_t size = number32(bytes);
  const std::uint32_t code = number32(bytes.substr(4));
  if (size == kPgRequestBytes && code == kTlsCode) return PgRequest::Tls;
  if (size == kPgRequestBytes && code == kGssCode) return PgRequest::Gss;
  if (size >= kCancelBytes && code == kCancelCode) return PgRequest::Cancel;
  const std::uint32_t version = code >> 16U;
  const bool is_startup =
      size > kPgRequestBytes && size <= kMaxStartup && (version == kOldestVersion || version == 3);
  return is_startup ? PgRequest::Plain : PgRequest::Foreign;
}

std::string make_pg_error(std::string_view code, std::string_view message, std::string_view hint) {
  std::string fields;
  put_field(fields, 'S', "FATAL");
  put_field(fields, 'V', "FATAL");
  put_field(fields, 'C', code);
  put_field(fields, 'M', message);
  if (!hint.empty()) put_field(fields, 'H', hint);
  fields += '\0';
  const std::size_t size = fields.size() + 4;
  std::string made = "E";
  for (const unsigned shift : {24U, 16U, 8U, 0U}) made += static_cast<char>(size >> shift & 0xFFU);
  return made + fields;
}

}  // namespace rooster::proxy
