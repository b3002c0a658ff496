#include "net/connect_call.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace rooster::net {
namespace {

constexpr std::string_view kEnd = "\r\n\r\n";
constexpr std::string_view kBearer = "Bearer ";

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool same(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower, lower);
}

std::string one_line(std::string_view text) {
  std::string line(text.substr(0, 1024));
  std::ranges::replace_if(
      line, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }, ' ');
  return line;
}

// The value of a field of `head`, which ends with an empty line; "" if there is none.
std::string_view field_of(std::string_view head, std::string_view name) {
  for (std::size_t at = head.find("\r\n"); at != std::string_view::npos;) {
    const std::size_t begin = at + 2;
    at = head.find("\r\n", begin);
    const std::string_view line = head.substr(begin, at - begin);
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || !same(line.substr(0, colon), name)) continue;
    std::string_view value = line.substr(colon + 1);
    while (value.starts_with(' ')) value.remove_prefix(1);
    while (value.ends_with(' ')) value.remove_suffix(1);
    return value;
  }
  return {};
}

}  // namespace

std::optional<ConnectTarget> ConnectTarget::parse(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (host.empty() || host.size() > 253 || (!bracketed && host.contains(':'))) return std::nullopt;
  if (std::ranges::any_of(host, [](char c) { return c <= ' ' || c == '/' || c == 0x7F; })) {
    return std::nullopt;
  }
  ConnectTarget target{.host = std::string(host), .port = 0};
  const char* const end = digits.data() + digits.size();
  const auto [stop, wrong] = std::from_chars(digits.data(), end, target.port);
  if (wrong != std::errc() || stop != end || target.port == 0) return std::nullopt;
  return target;
}

std::string ConnectTarget::to_string() const {
  return host.contains(':') ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

std::string encode_connect(const ConnectCall& call) {
  std::string head =
      fmt::format("CONNECT {} HTTP/1.1\r\nHost: _api.internal\r\n", call.target.to_string());
  if (call.only_wake) head += fmt::format("{}: only\r\n", kWakeField);
  if (!call.token.empty()) {
    head += fmt::format("Authorization: {}{}\r\n", kBearer, one_line(call.token));
  }
  head += "\r\n";
  return head;
}

std::optional<ConnectCall> parse_connect(std::string_view head) {
  constexpr std::string_view kMethod = "CONNECT ";
  if (!head.starts_with(kMethod) || !head.ends_with(kEnd)) return std::nullopt;
  const std::string_view line = head.substr(0, head.find("\r\n")).substr(kMethod.size());
  const std::size_t space = line.find(' ');
  if (space == std::string_view::npos || line.substr(space) != " HTTP/1.1") return std::nullopt;
  const auto target = ConnectTarget::parse(line.substr(0, space));
  if (!target) return std::nullopt;
  ConnectCall call{
      .target = *target, .only_wake = field_of(head, kWakeField) == "only", .token = {}};
  const std::string_view authorization = field_of(head, "Authorization");
  if (authorization.starts_with(kBearer)) call.token = authorization.substr(kBearer.size());
  return call;
}

std::string encode_progress(std::string_view line) {
  return fmt::format("HTTP/1.1 102 Processing\r\n{}: {}\r\n\r\n", kProgressField, one_line(line));
}

std::string encode_connected(std::string_view remote) {
  if (remote.empty()) return "HTTP/1.1 200 Connected\r\n\r\n";
  return fmt::format("HTTP/1.1 200 Connected\r\n{}: {}\r\n\r\n", kRemoteField, one_line(remote));
}

std::string encode_connect_refusal(Fault fault, std::string_view detail,
                                   std::chrono::seconds retry_after) {
  const FaultText text = describe(fault);
  const std::string sentence = one_line(detail.empty() ? text.hint : detail);
  std::string head = fmt::format(
      "HTTP/1.1 {} Refused\r\nRooster-Fault: {}\r\n{}: {}\r\n"
      "Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n",
      text.status >= 400 ? text.status : 502, text.token, kDetailField, sentence,
      sentence.size() + 1);
  if (retry_after.count() > 0) head += fmt::format("Retry-After: {}\r\n", retry_after.count());
  return head + "\r\n" + sentence + '\n';
}

std::optional<ConnectReply::State> ConnectReply::put(std::string_view bytes) {
  input_ += bytes;
  while (state_ == State::Waiting) {
    const std::size_t end = input_.find(kEnd);
    if (end == std::string::npos) {
      if (input_.size() > kMaxConnectHeadBytes) return std::nullopt;
      break;
    }
    if (end > kMaxConnectHeadBytes || !take_head(std::string_view(input_).substr(0, end + 2))) {
      return std::nullopt;
    }
    input_.erase(0, end + kEnd.size());
  }
  return state_;
}

// `head` ends with the line end of its last line.
bool ConnectReply::take_head(std::string_view head) {
  constexpr std::string_view kVersion = "HTTP/1.";
  if (!head.starts_with(kVersion) || head.size() < kVersion.size() + 5) return false;
  const std::string_view digits = head.substr(kVersion.size() + 2, 3);
  int status = 0;
  const auto [stop, wrong] = std::from_chars(digits.data(), digits.data() + 3, status);
  if (wrong != std::errc() || stop != digits.data() + 3 || status < 100) return false;
  if (status == 101) return false;
  if (status < 200) {
    // A flood of progress is cut: the newest lines count.
    if (progress_.size() >= 64) progress_.erase(progress_.begin());
    const std::string_view line = field_of(head, kProgressField);
    if (!line.empty()) progress_.emplace_back(line);
    return true;
  }
  if (status == 200) {
    remote_ = field_of(head, kRemoteField);
    state_ = State::Connected;
    return true;
  }
  refusal_ = {.status = status,
              .fault = std::string(field_of(head, "Rooster-Fault")),
              .detail = std::string(field_of(head, kDetailField))};
  if (refusal_.detail.empty()) refusal_.detail = fmt::format("the node answered {}", status);
  state_ = State::Refused;
  return true;
}

std::vector<std::string> ConnectReply::take_progress() {
  return std::exchange(progress_, {});
}

std::string ConnectReply::take_rest() {
  return std::exchange(input_, {});
}

}  // namespace rooster::net
