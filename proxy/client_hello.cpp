#include "proxy/client_hello.hpp"

#include "config/hostname.hpp"

#include <algorithm>
#include <optional>

namespace rooster::proxy {

namespace {

// A cursor over what was announced: every read is checked, and a miss stays a miss.
class Bytes {
 public:
  explicit Bytes(std::string_view bytes) : bytes_(bytes) {}

  std::uint32_t number(std::size_t size) {
    if (size > bytes_.size()) return fail();
    std::uint32_t value = 0;
    for (const char byte : bytes_.substr(0, size)) {
      value = value << 8U | static_cast<unsigned char>(byte);
    }
    bytes_.remove_prefix(size);
    return value;
  }
  std::string_view take(std::size_t size) {
    if (size > bytes_.size()) return fail(), std::string_view();
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }
  bool empty() const { return bytes_.empty(); }
  bool failed() const { return failed_; }

 private:
  std::uint32_t fail() {
    failed_ = true;
    bytes_ = {};
    return 0;
  }
  std::string_view bytes_;
  bool failed_ = false;
};

constexpr std::size_t kRecordHead = 5;   // RFC 8446 §5.1
constexpr std::size_t kMessageHead = 4;  // §4
constexpr unsigned char kHandshake = 22;
constexpr unsigned char kClientHello = 1;
constexpr std::uint32_t kServerName = 0;  // RFC 6066 §1.1
constexpr std::size_t kMaxRecord = 16 * 1024;

// The hello's extensions as far as server_name; nullopt: it makes no sense.
std::optional<std::string> name_in(std::string_view body) {
  Bytes hello(body);
  hello.take(2 + 32);           // legacy_version, random
  hello.take(hello.number(1));  // session id
  hello.take(hello.number(2));  // cipher suites
  hello.take(hello.number(1));  // compression methods
  if (hello.failed()) return std::nullopt;
  if (hello.empty()) return "";  // TLS 1.2 without extensions
  Bytes extensions(hello.take(hello.number(2)));
  if (hello.failed()) return std::nullopt;
  while (!extensions.empty()) {
    const std::uint32_t type = extensions.number(2);
    const std::string_view content = extensions.take(extensions.number(2));
    if (extensions.failed()) return std::nullopt;
    if (type != kServerName) continue;
    Bytes list(content);
    list.number(2);
    if (list.number(1) != 0) return list.failed() ? std::nullopt : std::optional<std::string>("");
    const std::string_view name = list.take(list.number(2));
    if (list.failed()) return std::nullopt;
    const auto key = config::to_host_key(name);
    return key && !key->is_address() ? std::string(key->view()) : std::string();
  }
  return "";
}

}  // namespace

HelloPeek peek_client_hello(std::string_view bytes) {
  using enum HelloPeek::Status;
  std::string message;  // put together from its records
  while (!bytes.empty()) {
    if (static_cast<unsigned char>(bytes[0]) != kHandshake) return {NotTls};
    if (bytes.size() > 1 && bytes[1] != 3) return {NotTls};
    if (bytes.size() < kRecordHead) return {NeedMore};
    Bytes head(bytes.substr(3, 2));
    const std::size_t size = head.number(2);
    if (size == 0 || size > kMaxRecord) return {NotTls};
    message += bytes.substr(kRecordHead, size);
    if (!message.empty() && static_cast<unsigned char>(message[0]) != kClientHello) return {NotTls};
    if (message.size() >= kMessageHead) {
      const std::size_t length = Bytes(std::string_view(message).substr(1, 3)).number(3);
      if (length + kMessageHead + kRecordHead > kMaxHelloBytes) return {NotTls};
      if (message.size() >= kMessageHead + length) {
        auto name = name_in(std::string_view(message).substr(kMessageHead, length));
        return name ? HelloPeek{Complete, std::move(*name)} : HelloPeek{NotTls};
      }
    }
    if (bytes.size() < kRecordHead + size) return {NeedMore};
    bytes.remove_prefix(kRecordHead + size);
  }
  return {NeedMore};
}

}  // namespace rooster::proxy
