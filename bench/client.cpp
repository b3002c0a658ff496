#include "bench/client.hpp"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace rooster::bench {
namespace {

constexpr std::size_t kPiece = 64 * 1024;

const std::string& filler() {
  static const std::string bytes(kPiece, 'u');
  return bytes;
}

}  // namespace

Target make_target(std::string_view address, std::uint16_t port, std::string host) {
  Target target;
  target.address.sin_family = AF_INET;
  target.address.sin_port = htons(port);
  if (::inet_pton(AF_INET, std::string(address).c_str(), &target.address.sin_addr) != 1) {
    std::fprintf(stderr, "not an IPv4 address: %s\n", std::string(address).c_str());
    std::exit(2);
  }
  target.host = std::move(host);
  return target;
}

SSL_CTX* make_client_tls(const std::string& ca_file, const std::string& suite) {
  SSL_CTX* tls = ::SSL_CTX_new(::TLS_client_method());
  SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION);
  ::SSL_CTX_set_ciphersuites(tls, suite.c_str());
  SSL_CTX_set1_groups_list(tls, "X25519:P-256");
  SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                            SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_read_ahead(tls, 1);
  if (!ca_file.empty()) {
    if (::SSL_CTX_load_verify_locations(tls, ca_file.c_str(), nullptr) != 1) {
      std::fprintf(stderr, "cannot read CA file %s\n", ca_file.c_str());
      std::exit(2);
    }
    ::SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, nullptr);
  }
  return tls;
}

Client::Client(const Target& target, int epoll, std::uint32_t index)
    : target_(target), epoll_(epoll), index_(index) {}

bool Client::open(std::uint32_t source, SSL_SESSION* session) {
  close();
  fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return false;
  const int on = 1;
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd_, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);  // the load is not to be the limit
  // Several loopback sources: ports in TIME_WAIT and a server's limit per source don't bound a run.
  ::setsockopt(fd_, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  sockaddr_in from{};
  from.sin_family = AF_INET;
  from.sin_addr.s_addr = htonl((127U << 24U) | (1U + source));
  if (::bind(fd_, reinterpret_cast<sockaddr*>(&from), sizeof from) != 0) return false;
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.u32 = index_;
  if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd_, &event) != 0) return false;
  if (target_.tls != nullptr) {
    ssl_ = ::SSL_new(target_.tls);
    ::SSL_set_fd(ssl_, fd_);
    SSL_set_tlsext_host_name(ssl_, target_.host.c_str());
    ::SSL_set1_host(ssl_, target_.host.c_str());
    if (session != nullptr) ::SSL_set_session(ssl_, session);
  }
  state_ = State::Connecting;
  const auto* to = reinterpret_cast<const sockaddr*>(&target_.address);
  return ::connect(fd_, to, sizeof target_.address) == 0 || errno == EINPROGRESS;
}

void Client::close() {
  if (ssl_ != nullptr) {
    if (state_ == State::Idle) ::SSL_shutdown(ssl_);
    ::SSL_free(ssl_);
    ssl_ = nullptr;
    ::ERR_clear_error();
  }
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  state_ = State::Closed;
}

void Client::ask(std::string_view head, std::uint64_t body_bytes) {
  out_ = head;
  body_left_ = body_bytes;
  raw_answer_ = {};
  response_.begin();
  state_ = State::Sending;
}

void Client::exchange_raw(std::string_view bytes, std::string_view answer) {
  out_ = bytes;
  body_left_ = 0;
  raw_answer_ = answer;
  raw_seen_ = 0;
  state_ = State::Sending;
}

Client::Event Client::advance() {
  switch (state_) {
    case State::Closed:
      return Event::Nothing;
    case State::Connecting:
      return connected();
    case State::Handshaking:
      return handshake();
    case State::Sending:
      return send();
    case State::Receiving:
      return receive();
    case State::Idle:
      break;
  }
  // Readiness while nothing is asked: TLS tickets, or the server closed.
  std::array<char, 1024> drop{};
  const long got = read_some(drop.data(), drop.size());
  if (got < 0) return fail("closed while idle");
  return got > 0 ? fail("bytes while idle") : Event::Nothing;
}

Client::Event Client::fail(std::string why) {
  failure_ = std::move(why);
  close();
  return Event::Failed;
}

Client::Event Client::connected() {
  sockaddr_in peer{};
  socklen_t peer_length = sizeof peer;
  if (::getpeername(fd_, reinterpret_cast<sockaddr*>(&peer), &peer_length) != 0) {
    int error = 0;
    socklen_t length = sizeof error;
    ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &length);
    return error == 0 ? Event::Nothing : fail(std::string("connect: ") + std::strerror(error));
  }
  if (ssl_ != nullptr) {
    state_ = State::Handshaking;
    return handshake();
  }
  state_ = State::Idle;
  return Event::Opened;
}

Client::Event Client::handshake() {
  const int result = ::SSL_connect(ssl_);
  if (result == 1) {
    state_ = State::Idle;
    return Event::Opened;
  }
  const int error = ::SSL_get_error(ssl_, result);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return Event::Nothing;
  const char* reason = ::ERR_reason_error_string(::ERR_get_error());
  return fail(std::string("handshake: ") + (reason == nullptr ? "closed" : reason));
}

Client::Event Client::send() {
  while (!out_.empty() || body_left_ > 0) {
    if (out_.empty()) out_ = std::string_view(filler()).substr(0, std::min(body_left_, kPiece));
    const bool in_body = out_.data() >= filler().data() && out_.data() < filler().data() + kPiece;
    const long sent = write_some(out_.data(), out_.size());
    if (sent < 0) return receive();  // an early answer may explain it
    if (sent == 0) return Event::Nothing;
    out_.remove_prefix(static_cast<std::size_t>(sent));
    if (in_body) body_left_ -= static_cast<std::uint64_t>(sent);
  }
  state_ = State::Receiving;
  return receive();
}

Client::Event Client::receive() {
  static thread_local std::array<char, kPiece> buffer;
  for (;;) {
    const long got = read_some(buffer.data(), buffer.size());
    if (got == 0) return Event::Nothing;
    if (got < 0) return fail("closed before the answer was complete");
    if (const auto event = judge({buffer.data(), static_cast<std::size_t>(got)})) return *event;
  }
}

std::optional<Client::Event> Client::judge(std::string_view bytes) {
  if (!raw_answer_.empty()) {
    if (raw_answer_.substr(raw_seen_, bytes.size()) != bytes) return fail("echo differs");
    raw_seen_ += bytes.size();
    if (raw_seen_ < raw_answer_.size()) return std::nullopt;
  } else {
    std::size_t used = 0;
    const auto progress = response_.take(bytes, used);
    if (progress == ResponseReader::Progress::More) return std::nullopt;
    if (progress == ResponseReader::Progress::Bad) return fail("bad response");
    if (used != bytes.size()) return fail("bytes after the response");
  }
  state_ = State::Idle;
  return Event::Answered;
}

long Client::read_some(char* to, std::size_t room) {
  if (ssl_ == nullptr) {
    const long got = ::recv(fd_, to, room, 0);
    if (got > 0) return got;
    return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
  }
  const int got = ::SSL_read(ssl_, to, static_cast<int>(room));
  if (got > 0) return got;
  const int error = ::SSL_get_error(ssl_, got);
  ::ERR_clear_error();
  return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

long Client::write_some(const char* from, std::size_t length) {
  if (ssl_ == nullptr) {
    const long sent = ::send(fd_, from, length, MSG_NOSIGNAL);
    if (sent >= 0) return sent;
    return errno == EAGAIN || errno == EINTR ? 0 : -1;
  }
  const int sent = ::SSL_write(ssl_, from, static_cast<int>(length));
  if (sent > 0) return sent;
  const int error = ::SSL_get_error(ssl_, sent);
  ::ERR_clear_error();
  return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

}  // namespace rooster::bench
