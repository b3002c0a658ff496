#include "tls/accept.hpp"

#include "core/address.hpp"
#include "net/dial.hpp"
#include "net/listen.hpp"
#include "tests/tls/pair.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include <sys/socket.h>

namespace rooster::tls {
namespace {

using namespace std::chrono_literals;
using testing::Folder;
using testing::today;

/// One listener on loopback whose next connection is taken by accept_tls.
class Accepting {
 public:
  Accepting() : listener_(std::move(*net::listen_tcp("127.0.0.1", 0))) {
    authority_.emplace(std::move(*LocalAuthority::open_or_create(folder_.path("tls"), today())));
    CertificateInputs inputs;
    inputs.domain = "app.dev";
    inputs.authority = &*authority_;
    context_ = testing::new_context(CertificateStore::build(inputs, nullptr, today()).store);
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    where_ = Endpoint::from(address);
  }

  /// Takes one connection and answers one request; returns once that is over.
  Result<Handshake> serve_one(Duration time) {
    group_.spawn(serve(time));
    const auto end = Clock::now() + 10s;
    while (group_.size() != 0 && Clock::now() < end) loop_.run_for(10ms);
    EXPECT_EQ(group_.size(), 0u);
    return std::move(result_);
  }

  Folder folder_;
  std::optional<LocalAuthority> authority_;
  Endpoint where_;
  Loop loop_;
  TaskGroup group_{loop_};

 private:
  Task<> serve(Duration time) {
    Pollable listener(loop_, Descriptor(::dup(listener_.get())));
    Waiter waiter(group_);
    const auto deadline = loop_.now() + 10s;
    Descriptor accepted;
    while (!accepted) {
      if (co_await waiter.wait(deadline, {&listener, Pollable::kReadable}) == Woke::Deadline) {
        co_return Error(Fault::Internal);
      }
      listener.clear(Pollable::kReadable);
      accepted = Descriptor(::accept4(listener.fd(), nullptr, nullptr, SOCK_NONBLOCK));
    }
    Stream stream(loop_, std::move(accepted));
    result_ = co_await accept_tls(stream, *context_, waiter, loop_.now() + time);
    if (!result_) co_return result_.error();
    std::array<char, 4096> request;
    while (stream.read(request).status == ReadResult::Status::Later) {
      if (co_await waiter.wait(deadline, stream.readable()) != Woke::Ready) break;
    }
    stream.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
    stream.shutdown_write();
    co_return {};
  }

  Descriptor listener_;
  std::unique_ptr<ServerContext> context_;
  Result<Handshake> result_ = std::unexpected(Error(Fault::Internal));
};

TEST(AcceptTls, IsWhatCurlVerifies) {
  Accepting accepting;
  const std::string port = std::to_string(accepting.where_.port);
  const std::string command =
      "curl -sS --http1.1 --fail --max-time 8 --cacert " +
      accepting.authority_->certificate_file() + " --resolve hello.app.dev:" + port +
      ":127.0.0.1 " + "https://hello.app.dev:" + port + "/ -o " + accepting.folder_.path("body");
  int status = -1;
  std::jthread curl([&] { status = std::system(command.c_str()); });
  const auto handshake = accepting.serve_one(5s);
  curl.join();
  ASSERT_TRUE(handshake) << handshake.error().detail;
  EXPECT_EQ(status, 0);
  EXPECT_EQ(handshake->sni, "hello.app.dev");
  EXPECT_EQ(handshake->alpn, "http/1.1");
  EXPECT_STREQ(handshake->version, "TLSv1.3");
  EXPECT_FALSE(handshake->resumed);
}

TEST(AcceptTls, GivesUpOnASilentClient) {
  Accepting accepting;
  const auto client = net::start_connect(accepting.where_);
  const auto handshake = accepting.serve_one(1ms);
  ASSERT_FALSE(handshake);
  EXPECT_EQ(handshake.error().fault, Fault::TlsHandshake);
  EXPECT_EQ(handshake.error().detail, "PT08 not finished in time");
}

TEST(AcceptTls, TellsPlainHttpFromTls) {
  Accepting accepting;
  const auto client = net::start_connect(accepting.where_);
  ASSERT_GT(::send(client->get(), "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL), 0);
  const auto handshake = accepting.serve_one(5s);
  ASSERT_FALSE(handshake);
  EXPECT_EQ(handshake.error().detail, "PT04 http request");
}

TEST(AcceptTls, NoticesAClientThatLeaves) {
  Accepting accepting;
  auto client = net::start_connect(accepting.where_);
  ::send(client->get(), "\x16\x03\x01", 3, MSG_NOSIGNAL);
  client->reset();
  const auto handshake = accepting.serve_one(5s);
  ASSERT_FALSE(handshake);
  EXPECT_TRUE(handshake.error().detail.starts_with("PT07 ")) << handshake.error().detail;
}

}  // namespace
}  // namespace rooster::tls
