#include "net/http_client.hpp"

#include "core/descriptor.hpp"
#include "net/http1.hpp"
#include "net/unix_address.hpp"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

namespace rooster::net {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kHeadBytes = 64 * 1024;
constexpr std::size_t kBodyBytes = 256 * 1024 * 1024;  // a node's whole state
constexpr std::size_t kLineBytes = 1024 * 1024;

std::string hint_for(int reason) {
  switch (reason) {
    case ENOENT:
    case ECONNREFUSED:
      return "; is the node running? Start it with: rooster serve";
    case EACCES:
    case EPERM:
      return "; run this as root or as the node's user";
    default:
      return "";
  }
}

Error connect_error(const std::string& to, int reason) {
  return Error(Fault::UpstreamRefused, Reached::No,
               "cannot reach " + to + ": " + std::strerror(reason) + hint_for(reason));
}

/// Waits for `events`; false after `timeout`.
bool wait_for(int fd, short events, milliseconds timeout) {
  pollfd wanted{fd, events, 0};
  int ready = 0;
  do {
    ready = ::poll(&wanted, 1, static_cast<int>(timeout.count()));
  } while (ready < 0 && errno == EINTR);
  return ready > 0;
}

/// Connects a non-blocking socket; 0, or errno.
int connect_in_time(int fd, const sockaddr* address, socklen_t size, milliseconds timeout) {
  if (::connect(fd, address, size) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  if (!wait_for(fd, POLLOUT, timeout)) return ETIMEDOUT;
  int reason = 0;
  socklen_t reason_size = sizeof reason;
  ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &reason, &reason_size);
  return reason;
}

Result<Descriptor> open_unix(const HttpAddress& to, milliseconds timeout) {
  const auto address = UnixAddress::of(to.unix_path);
  if (!address) return fail(connect_error(to.to_string(), ENAMETOOLONG));
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int reason =
      socket ? connect_in_time(socket.get(), address->get(), address->size(), timeout) : errno;
  if (reason != 0) return fail(connect_error(to.to_string(), reason));
  return socket;
}

Result<Descriptor> open_tcp(const HttpAddress& to, milliseconds timeout) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int wrong = ::getaddrinfo(to.host.c_str(), std::to_string(to.port).c_str(), &hints, &found);
  if (wrong != 0) {
    return fail(Error(Fault::UpstreamUnresolved, Reached::No,
                      "cannot resolve " + to.host + ": " + ::gai_strerror(wrong)));
  }
  int reason = ENOENT;
  Descriptor socket;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    socket = Descriptor(::socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    reason = socket ? connect_in_time(socket.get(), at->ai_addr, at->ai_addrlen, timeout) : errno;
    if (reason == 0) break;
  }
  ::freeaddrinfo(found);
  if (reason != 0) return fail(connect_error(to.to_string(), reason));
  return socket;
}

Result<> send_all(int fd, std::string_view bytes, milliseconds timeout) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      if (!wait_for(fd, POLLOUT, timeout)) {
        return fail(Fault::UpstreamTimeout, "the node takes no more of the request");
      }
    } else if (errno != EINTR) {
      return fail(Fault::UpstreamReset, std::string("the node hung up: ") + std::strerror(errno));
    }
  }
  return {};
}

/// Hands whole lines of `pending` to `line`; false when it wants no more.
bool give_lines(std::string& pending, const std::function<bool(std::string_view)>& line,
                bool at_end) {
  std::size_t from = 0;
  for (std::size_t end = pending.find('\n'); end != std::string::npos;
       end = pending.find('\n', from)) {
    if (!line(std::string_view(pending).substr(from, end - from))) return false;
    from = end + 1;
  }
  pending.erase(0, from);
  if (!pending.empty() && (at_end || pending.size() > kLineBytes)) {
    if (!line(pending)) return false;
    pending.clear();
  }
  return true;
}

}  // namespace

std::optional<HttpAddress> HttpAddress::parse(std::string_view text) {
  HttpAddress address;
  if (text.starts_with("unix:")) text.remove_prefix(5);
  if (text.starts_with("/")) {
    address.unix_path = std::string(text);
    return address;
  }
  if (text.starts_with("http://")) text.remove_prefix(7);
  if (text.ends_with("/")) text.remove_suffix(1);
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return std::nullopt;
  const std::string_view digits = text.substr(colon + 1);
  const auto [end, wrong] =
      std::from_chars(digits.data(), digits.data() + digits.size(), address.port);
  if (wrong != std::errc() || end != digits.data() + digits.size() || address.port == 0) {
    return std::nullopt;
  }
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  address.host = std::string(host);
  return address;
}

std::string HttpAddress::to_string() const {
  if (!unix_path.empty()) return "unix:" + unix_path;
  const bool v6 = host.find(':') != std::string::npos;
  return "http://" + (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<HttpResponse> HttpClient::send(const HttpRequest& request) const {
  return talk(request, nullptr);
}

Result<HttpResponse> HttpClient::stream(
    const HttpRequest& request, const std::function<bool(std::string_view line)>& line) const {
  return talk(request, &line);
}

Result<HttpResponse> HttpClient::talk(
    const HttpRequest& request, const std::function<bool(std::string_view line)>* line) const {
  const bool is_unix = !address_.unix_path.empty();
  const auto socket = is_unix ? open_unix(address_, timeout_) : open_tcp(address_, timeout_);
  if (!socket) return fail(socket.error());
  const int fd = socket->get();
  const std::string host =
      is_unix ? "localhost" : address_.to_string().substr(std::strlen("http://"));
  if (auto sent = send_all(fd, encode_request(request, host), timeout_); !sent) {
    return fail(sent.error());
  }
  ResponseReader reader(kHeadBytes, line != nullptr ? 0 : kBodyBytes, request.method == "HEAD");
  std::string input;
  std::string lines;
  std::array<char, 16 * 1024> block;
  while (!reader.is_done()) {
    const bool streams = line != nullptr && reader.has_head() && reader.status() / 100 == 2;
    if (!wait_for(fd, POLLIN, streams ? milliseconds(-1) : timeout_)) {
      return fail(Fault::UpstreamTimeout, "the node does not answer");
    }
    const ssize_t got = ::recv(fd, block.data(), block.size(), 0);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) return fail(Fault::UpstreamReset, std::strerror(errno));
    if (got == 0) {
      if (auto ended = reader.end(); !ended) return fail(ended.error());
      break;
    }
    input.append(block.data(), static_cast<std::size_t>(got));
    const auto used = reader.put(input);
    if (!used) return fail(used.error());
    input.erase(0, *used);
    if (line == nullptr || !reader.has_head() || reader.status() / 100 != 2) continue;
    lines += reader.take_body();
    if (!give_lines(lines, *line, reader.is_done())) return HttpResponse{reader.status(), {}, {}};
  }
  if (line != nullptr && reader.status() / 100 == 2) {
    lines += reader.take_body();
    give_lines(lines, *line, true);
  }
  return reader.take();
}

}  // namespace rooster::net
