#include "tests/net/serving.hpp"

#include "core/address.hpp"

#include <array>

#include <poll.h>
#include <sys/socket.h>

namespace rooster::net::testing {

std::uint16_t port_of(const Descriptor& listener) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size);
  return Endpoint::from(address).port;
}

Serving::Serving(Descriptor listener, HttpServer::Handler handler, HttpServerLimits limits)
    : server_(loop_, std::move(listener), std::move(handler), limits),
      thread_([this] { loop_.run(); }) {}

void Serving::stop() {
  if (!thread_.joinable()) return;
  loop_.post([this] { server_.stop([this] { loop_.stop(); }); });
  thread_.join();
}

std::size_t Serving::connections() {
  std::promise<std::size_t> answer;
  loop_.post([&] { answer.set_value(server_.connections()); });
  return answer.get_future().get();
}

bool Serving::wait_for_connections(std::size_t wanted) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (std::chrono::steady_clock::now() < deadline) {
    if (connections() == wanted) return true;
    std::this_thread::yield();
  }
  return false;
}

RawClient::RawClient(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
  sockaddr_storage address{};
  const socklen_t size = Endpoint{*IpAddress::parse("127.0.0.1"), port}.to(address);
  if (::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), size) != 0) socket_.reset();
}

void RawClient::send(const std::string& bytes) {
  (void)::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
}

std::string RawClient::read_until(const std::string& end) {
  std::string all;
  std::array<char, 4096> block;
  pollfd wanted{socket_.get(), POLLIN, 0};
  while ((end.empty() || all.find(end) == std::string::npos) && ::poll(&wanted, 1, 5000) > 0) {
    const ssize_t got = ::recv(socket_.get(), block.data(), block.size(), 0);
    if (got <= 0) break;
    all.append(block.data(), static_cast<std::size_t>(got));
  }
  return all;
}

}  // namespace rooster::net::testing
