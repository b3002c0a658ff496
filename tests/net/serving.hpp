// What the net tests share: a folder, and an HttpServer on a thread of its own.
#pragma once

#include "core/loop.hpp"
#include "net/http_client.hpp"
#include "net/http_server.hpp"

#include <cstdlib>
#include <filesystem>
#include <future>
#include <string>
#include <thread>

#include <unistd.h>

namespace rooster::net::testing {

class Folder {
 public:
  Folder() {
    std::string name = std::filesystem::temp_directory_path() / "rooster-net-XXXXXX";
    path_ = ::mkdtemp(name.data());
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// The port that a listening socket got.
std::uint16_t port_of(const Descriptor& listener);

class Serving {
 public:
  Serving(Descriptor listener, HttpServer::Handler handler, HttpServerLimits limits = {});
  ~Serving() { stop(); }
  /// Stops the server and its loop.
  void stop();
  /// HttpServer::connections, asked on its thread.
  std::size_t connections();
  /// True once there are `wanted` connections; gives up after five seconds.
  bool wait_for_connections(std::size_t wanted);

 private:
  Loop loop_;
  HttpServer server_;
  std::jthread thread_;
};

/// A blocking TCP connection that sends raw bytes.
class RawClient {
 public:
  explicit RawClient(std::uint16_t port);
  void send(const std::string& bytes);
  /// Reads until `end` has been read, the peer closes, or five seconds have passed.
  std::string read_until(const std::string& end);
  /// Reads until the peer closes.
  std::string read_all() { return read_until(""); }

 private:
  Descriptor socket_;
};

}  // namespace rooster::net::testing
