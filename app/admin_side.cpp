#include "app/admin_side.hpp"

#include "core/private_address.hpp"
#include "net/listen.hpp"

#include <array>
#include <cstddef>
#include <utility>

namespace rooster::app {

namespace {

constexpr std::size_t kCallsPerSource = 16;  // to the enrolment or the private API, at a time

}  // namespace

AdminSide::AdminSide(Parts parts)
    : background_(parts.node.background),
      node_(std::move(parts.node)),
      network_(std::move(parts.network)),
      exec_host_(std::move(parts.exec)),
      exec_api_(node_, exec_host_, network_.get(), parts.log),
      api_(node_, network_.get()) {
  api_.set_exec(exec_api_);
  if (!network_) return;
  api_.set_connect(std::move(parts.connect));
  enrolment_.emplace(*network_, parts.log);
  private_api_.emplace(node_, exec_api_, *network_);
}

Result<> AdminSide::start(const std::string& admin_socket) {
  auto listener = net::listen_unix(admin_socket, 0600);
  if (!listener) return fail(listener.error());
  background_.post([this, fd = std::move(*listener)]() mutable {
    if (network_) {
      enrolment_server_ = serve_calls([this](const net::HttpRequest& request, Waiter& waiter) {
        return enrolment_->handle(request, waiter);
      });
      private_api_server_ = serve_calls([this](const net::HttpRequest& request, Waiter& waiter) {
        return private_api_->handle(request, waiter);
      });
    }
    admin_server_ = std::make_unique<net::HttpServer>(
        background_, std::move(fd), [this](const net::HttpRequest& request, Waiter& waiter) {
          return api_.handle(request, waiter);
        });
  });
  return {};
}

std::unique_ptr<net::HttpServer> AdminSide::serve_calls(net::HttpServer::Handler handler) {
  return std::make_unique<net::HttpServer>(background_, std::move(handler),
                                           net::HttpServerLimits{.per_source = kCallsPerSource});
}

void AdminSide::adopt_enrolment(Stream::Parts connection, std::string input,
                                const IpAddress& source) {
  if (!enrolment_server_) return;
  enrolment_server_->adopt(std::move(connection), std::move(input), source);
}

void AdminSide::adopt_private_call(Descriptor connection, std::string input,
                                   const IpAddress& source) {
  if (!private_api_server_) return;
  private_api_server_->adopt(std::move(connection), std::move(input), source);
}

void AdminSide::end_calls(const IpAddress& peer) {
  if (!private_api_server_) return;
  const IpAddress prefix = prefix_of(peer, kPeerPrefixBits);
  private_api_server_->interrupt(
      [&prefix](const IpAddress& source) { return prefix_of(source, kPeerPrefixBits) == prefix; });
}

void AdminSide::stop(std::function<void()> done) {
  const std::array servers{admin_server_.get(), enrolment_server_.get(), private_api_server_.get()};
  const auto left = std::make_shared<std::size_t>(servers.size());
  const auto ended = [left, done = std::move(done)] {
    if (--*left == 0) done();
  };
  for (net::HttpServer* server : servers) {
    if (server != nullptr) {
      server->stop(ended);
    } else {
      ended();
    }
  }
}

}  // namespace rooster::app
