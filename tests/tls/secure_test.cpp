// net/secure against tls/accept: both ends of one connection on one loop.
#include "net/secure.hpp"

#include "core/base64.hpp"
#include "tests/tls/pair.hpp"
#include "tls/accept.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include <sys/socket.h>

namespace rooster::tls {
namespace {

using namespace std::chrono_literals;
using testing::Folder;
using testing::today;

class SecureTest : public ::testing::Test {
 protected:
  SecureTest() {
    authority_.emplace(std::move(*LocalAuthority::open_or_create(folder_.path("tls"), today())));
    CertificateInputs inputs;
    inputs.domain = "app.dev";
    inputs.authority = &*authority_;
    context_ = testing::new_context(CertificateStore::build(inputs, nullptr, today()).store);
  }
  Task<> client(Descriptor socket, const net::ClientTls& tls, std::string host) {
    Waiter waiter(group_);
    Stream stream(loop_, std::move(socket));
    outcome_ = co_await net::secure(stream, tls, std::move(host), waiter, loop_.now() + 4s);
    stream.shutdown_write();
    co_return {};
  }
  Task<> server(Descriptor socket) {
    Waiter waiter(group_);
    Stream stream(loop_, std::move(socket));
    auto handshake = co_await accept_tls(stream, *context_, waiter, loop_.now() + 4s);
    if (!handshake) co_return handshake.error();
    co_await waiter.wait(loop_.now() + 4s, stream.readable());
    co_return {};
  }
  Result<> connect(const net::ClientTls& tls, const std::string& host) {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    outcome_ = fail(Fault::Internal);
    group_.spawn(client(Descriptor(ends[0]), tls, host));
    group_.spawn(server(Descriptor(ends[1])));
    const auto end = Clock::now() + 5s;
    while (group_.size() != 0 && Clock::now() < end) loop_.run_for(10ms);
    EXPECT_EQ(group_.size(), 0u);
    return outcome_;
  }
  Folder folder_;
  std::optional<LocalAuthority> authority_;
  std::unique_ptr<ServerContext> context_;
  Loop loop_;
  TaskGroup group_{loop_};
  Result<> outcome_;
};

TEST_F(SecureTest, TrustsTheAuthorityItWasGiven) {
  const auto tls = net::ClientTls::create(authority_->certificate_file());
  ASSERT_TRUE(tls) << tls.error().detail;
  const auto outcome = connect(*tls, "hello.app.dev");
  EXPECT_TRUE(outcome) << outcome.error().detail;
}

TEST_F(SecureTest, RefusesAnotherName) {
  const auto tls = net::ClientTls::create(authority_->certificate_file());
  const auto outcome = connect(*tls, "bank.example");
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().detail, "TLS: hostname mismatch");
  EXPECT_EQ(outcome.error().reached, Reached::No);
}

TEST_F(SecureTest, RefusesAnAuthorityItDoesNotKnowUnlessToldNotToVerify) {
  const auto strict = net::ClientTls::create();
  ASSERT_TRUE(strict) << strict.error().detail;
  EXPECT_FALSE(connect(*strict, "hello.app.dev"));
  const auto lax = net::ClientTls::create({}, false);
  EXPECT_TRUE(connect(*lax, "hello.app.dev"));
}

std::array<std::uint8_t, 32> bytes_of_pin(const std::string& pin) {
  // Base 64 for URLs, as in a login.
  std::string text = pin + '=';
  for (char& c : text) c = c == '-' ? '+' : c == '_' ? '/' : c;
  std::array<std::uint8_t, 32> bytes{};
  std::ranges::copy(*from_base64(text), bytes.begin());
  return bytes;
}

TEST_F(SecureTest, APinnedAuthorityIsTrustedAndAllElseIsVerified) {
  const auto tls = net::ClientTls::create_pinned(bytes_of_pin(authority_->pin()));
  ASSERT_TRUE(tls) << tls.error().detail;
  const auto outcome = connect(*tls, "rooster.app.dev");
  EXPECT_TRUE(outcome) << outcome.error().detail;
  const auto named = connect(*tls, "bank.example");
  ASSERT_FALSE(named);
  EXPECT_EQ(named.error().detail, "TLS: hostname mismatch");
}

TEST_F(SecureTest, AnotherPinIsRefused) {
  auto pin = bytes_of_pin(authority_->pin());
  pin[0] ^= 1U;
  const auto tls = net::ClientTls::create_pinned(pin);
  const auto outcome = connect(*tls, "rooster.app.dev");
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().reached, Reached::No);
}

}  // namespace
}  // namespace rooster::tls
