// SmallServer: a server on a thread of its own that gives every request the same answer.
#pragma once

#include "core/descriptor.hpp"

#include <openssl/ssl.h>

#include <cstdint>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

namespace rooster::machines::apps {

class SmallServer {
 public:
  enum class Tls : std::uint8_t { No, Yes };
  /// With a certificate that nobody has signed, where `tls` says so.
  explicit SmallServer(std::string answer, Tls tls = Tls::No);
  ~SmallServer();
  SmallServer(const SmallServer&) = delete;
  SmallServer& operator=(const SmallServer&) = delete;

  std::uint16_t port() const;
  void answer(std::string text);
  std::string last_request();

 private:
  void run(const std::stop_token& stop);
  void serve(int client);

  Descriptor socket_;
  SSL_CTX* tls_ = nullptr;
  std::mutex mutex_;
  std::string answer_;
  std::string last_request_;
  std::jthread thread_;
};

}  // namespace rooster::machines::apps
