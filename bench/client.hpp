// One client connection of the load programs, plain or TLS, driven by edge-triggered readiness.
#pragma once

#include "bench/http_text.hpp"

#include <openssl/ssl.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <netinet/in.h>

namespace rooster::bench {

using Clock = std::chrono::steady_clock;

/// What is connected to, and how. Shared by all clients of a program.
struct Target {
  sockaddr_in address{};
  std::string host;        ///< SNI and the name that the certificate must carry
  SSL_CTX* tls = nullptr;  ///< nullptr: plain
};

Target make_target(std::string_view address, std::uint16_t port, std::string host);

/// A verifying client context that offers `suite` alone in TLS 1.3. Ends the program on a bad file.
SSL_CTX* make_client_tls(const std::string& ca_file, const std::string& suite);

/// One connection. Feed it readiness with advance(); it says what came of it.
class Client {
 public:
  enum class Event : std::uint8_t { Nothing, Opened, Answered, Failed };

  Client(const Target& target, int epoll, std::uint32_t index);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() { close(); }

  /// Starts a connection from 127.<source>; with `session`, TLS offers to resume it.
  bool open(std::uint32_t source, SSL_SESSION* session = nullptr);
  void close();

  /// Sends a head and then `body_bytes` of filler, and counts the response. Call advance() next.
  void ask(std::string_view head, std::uint64_t body_bytes = 0);
  /// Sends raw bytes and waits for exactly `answer` (a WebSocket echo).
  void exchange_raw(std::string_view bytes, std::string_view answer);

  /// Goes on as far as the descriptor allows.
  Event advance();

  const ResponseReader& response() const { return response_; }
  SSL* tls() const { return ssl_; }
  std::uint32_t index() const { return index_; }
  bool is_open() const { return fd_ >= 0; }
  const std::string& failure() const { return failure_; }

  Clock::time_point asked{};  ///< when the current request was due; the owner's

 private:
  enum class State : std::uint8_t { Closed, Connecting, Handshaking, Idle, Sending, Receiving };

  Event fail(std::string why);
  Event connected();
  Event handshake();
  Event send();
  Event receive();
  std::optional<Event> judge(std::string_view bytes);
  /// Bytes moved; 0: would block; -1: ended or failed.
  long read_some(char* to, std::size_t room);
  long write_some(const char* from, std::size_t length);

  const Target& target_;
  int epoll_;
  std::uint32_t index_;
  int fd_ = -1;
  SSL* ssl_ = nullptr;
  State state_ = State::Closed;
  std::string_view out_;
  std::uint64_t body_left_ = 0;
  std::string_view raw_answer_;
  std::size_t raw_seen_ = 0;
  ResponseReader response_;
  std::string failure_;
};

}  // namespace rooster::bench
