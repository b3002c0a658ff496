// bench_origin: the fast server behind every proxy of a run. One thread, epoll, keep-alive.
//   /small 120 bytes under six fields   /100k, /10m   POST anything: the body's size as text
//   Upgrade: websocket: an echo   /counters: what it served, so that a run proves its own numbers
#include "bench/http_text.hpp"
#include "bench/options.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <unordered_map>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace rooster::bench {
namespace {

constexpr std::size_t kMaxHead = 64 * 1024;
constexpr std::string_view kFields =
    "Server: origin\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: private, "
    "max-age=0\r\n"
    "ETag: \"5f3e-1a2b3c\"\r\nVary: Accept-Encoding\r\n";

std::string make_response(std::string_view body_length, std::string_view body) {
  std::string text = "HTTP/1.1 200 OK\r\n";
  text += kFields;
  text += "Content-Length: ";
  text += body_length;
  text += "\r\n\r\n";
  return text += body;
}

struct Responses {
  std::string filler = std::string(1024 * 1024, 'x');
  std::string small = make_response("120", std::string(120, 's'));
  std::string head_100k = make_response("102400", "");
  std::string head_10m = make_response("10485760", "");
};

/// One accepted connection: reads heads, then answers; a body is counted and thrown away.
class Connection {
 public:
  Connection(int fd, const Responses& responses, std::uint64_t& served)
      : fd_(fd), responses_(responses), served_(served) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { ::close(fd_); }

  /// Goes on as far as the descriptor allows; false: close it.
  bool advance();

 private:
  bool flush();
  bool take(std::string_view bytes);
  bool take_head();
  bool take_chunked(std::string_view& bytes);
  void finish_upload();
  void answer(std::string_view target);
  void echo(std::string_view bytes);

  int fd_;
  const Responses& responses_;
  std::uint64_t& served_;
  std::string in_;
  std::string out_;
  std::size_t out_done_ = 0;
  std::uint64_t filler_left_ = 0;
  std::uint64_t body_left_ = 0, body_bytes_ = 0;
  bool in_body_ = false, chunked_ = false, tunnel_ = false;
  std::string chunk_line_;
  enum class Chunk : std::uint8_t { Size, Data, End, Trailer } chunk_ = Chunk::Size;
};

bool Connection::advance() {
  static std::array<char, 256 * 1024> buffer;
  for (;;) {
    if (!flush()) return false;
    if (out_done_ < out_.size() || filler_left_ > 0) return true;  // the client must read first
    const long got = ::recv(fd_, buffer.data(), buffer.size(), 0);
    if (got == 0) return false;
    if (got < 0) return errno == EAGAIN;
    if (!take({buffer.data(), static_cast<std::size_t>(got)})) return false;
    if (static_cast<std::size_t>(got) < buffer.size() && out_.empty()) return true;
  }
}

bool Connection::flush() {
  while (out_done_ < out_.size() || filler_left_ > 0) {
    const bool head = out_done_ < out_.size();
    const char* from = head ? out_.data() + out_done_ : responses_.filler.data();
    const auto size = head ? out_.size() - out_done_
                           : std::min<std::size_t>(filler_left_, responses_.filler.size());
    const int more = head && filler_left_ > 0 ? MSG_MORE : 0;
    const long sent = ::send(fd_, from, size, MSG_NOSIGNAL | more);
    if (sent < 0) return errno == EAGAIN;
    if (head) {
      out_done_ += static_cast<std::size_t>(sent);
    } else {
      filler_left_ -= static_cast<std::uint64_t>(sent);
    }
  }
  out_.clear();
  out_done_ = 0;
  return true;
}

bool Connection::take(std::string_view bytes) {
  while (!bytes.empty()) {
    if (tunnel_) {
      echo(bytes);
      return true;
    }
    if (in_body_ && chunked_) {
      if (!take_chunked(bytes)) return false;
      continue;
    }
    if (in_body_) {
      const auto piece = std::min<std::uint64_t>(body_left_, bytes.size());
      bytes.remove_prefix(piece);
      body_left_ -= piece;
      if (body_left_ == 0) finish_upload();
      continue;
    }
    const std::size_t before = in_.size();
    in_.append(bytes);
    const auto end = in_.find("\r\n\r\n", before < 3 ? 0 : before - 3);
    if (end == in_.npos) return in_.size() <= kMaxHead;
    bytes.remove_prefix(end + 4 - before);
    in_.resize(end + 4);
    if (!take_head()) return false;
    in_.clear();
  }
  return true;
}

bool Connection::take_head() {
  const std::string_view head = in_;
  const auto space = head.find(' ');
  const auto end = head.find(' ', space + 1);
  if (space == head.npos || end == head.npos) return false;
  if (const auto key = field_value(head, "sec-websocket-key"); !key.empty()) {
    out_ +=
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: " +
        websocket_accept(key) + "\r\n\r\n";
    ++served_;
    return tunnel_ = true;
  }
  chunked_ = field_value(head, "transfer-encoding") == "chunked";
  const std::string length(field_value(head, "content-length"));
  body_left_ = body_bytes_ = std::strtoull(length.c_str(), nullptr, 10);
  in_body_ = chunked_ || body_left_ > 0;
  if (!in_body_) answer(head.substr(space + 1, end - space - 1));
  return true;
}

bool Connection::take_chunked(std::string_view& bytes) {
  if (chunk_ == Chunk::Data) {
    const auto piece = std::min<std::uint64_t>(body_left_, bytes.size());
    bytes.remove_prefix(piece);
    body_left_ -= piece;
    if (body_left_ == 0) chunk_ = Chunk::End;
    return true;
  }
  chunk_line_.push_back(bytes.front());
  bytes.remove_prefix(1);
  if (chunk_line_.size() > kMaxHead) return false;
  if (chunk_line_.back() != '\n') return true;
  const std::string line = std::exchange(chunk_line_, {});
  if (chunk_ == Chunk::Size) {
    body_left_ = std::strtoull(line.c_str(), nullptr, 16);
    body_bytes_ += body_left_;
    chunk_ = body_left_ == 0 ? Chunk::Trailer : Chunk::Data;
  } else if (chunk_ == Chunk::End) {
    chunk_ = Chunk::Size;
  } else if (line == "\r\n") {
    chunk_ = Chunk::Size;
    finish_upload();
  }
  return true;
}

void Connection::finish_upload() {
  in_body_ = chunked_ = false;
  const std::string size = std::to_string(body_bytes_);
  out_ += make_response(std::to_string(size.size()), size);
  ++served_;
}

void Connection::answer(std::string_view target) {
  if (target == "/counters") {
    const std::string text = "{\"served\":" + std::to_string(served_) + "}";
    out_ += make_response(std::to_string(text.size()), text);
    return;
  }
  ++served_;
  if (target == "/100k") {
    out_ += responses_.head_100k;
    filler_left_ = 102400;
  } else if (target == "/10m") {
    out_ += responses_.head_10m;
    filler_left_ = 10485760;
  } else {
    out_ += responses_.small;
  }
}

// Masked frames with payloads below 126 bytes, whole or in pieces.
void Connection::echo(std::string_view bytes) {
  in_.append(bytes);
  std::size_t at = 0;
  while (in_.size() - at >= 6) {
    const auto length = static_cast<std::size_t>(in_[at + 1] & 0x7f);
    if (in_.size() - at < 6 + length) break;
    out_.push_back(in_[at]);
    out_.push_back(static_cast<char>(length));
    for (std::size_t i = 0; i < length; ++i) {
      out_.push_back(static_cast<char>(in_[at + 6 + i] ^ in_[at + 2 + i % 4]));
    }
    at += 6 + length;
    ++served_;
  }
  in_.erase(0, at);
}

int listen_on(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  ::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);  // the origin is not to be the limit
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd, 4096) != 0) {
    std::fprintf(stderr, "cannot listen on %u: %s\n", port, std::strerror(errno));
    return -1;
  }
  return fd;
}

void accept_all(int listener, int epoll, const Responses& responses, std::uint64_t& served,
                std::unordered_map<int, std::unique_ptr<Connection>>& connections) {
  for (;;) {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.fd = fd;
    ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    connections[fd] = std::make_unique<Connection>(fd, responses, served);
  }
}

int serve(std::uint16_t port) {
  const int listener = listen_on(port);
  if (listener < 0) return 1;
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = listener;
  ::epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  const Responses responses;
  std::uint64_t served = 0;
  std::unordered_map<int, std::unique_ptr<Connection>> connections;
  std::array<epoll_event, 256> events{};
  for (;;) {
    const int count = ::epoll_wait(epoll, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == listener) {
        accept_all(listener, epoll, responses, served, connections);
      } else if (!connections.at(fd)->advance()) {
        connections.erase(fd);
      }
    }
  }
}

}  // namespace
}  // namespace rooster::bench

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  const rooster::bench::Options options(argc, argv);
  return rooster::bench::serve(static_cast<std::uint16_t>(options.number("port", 9000)));
}
