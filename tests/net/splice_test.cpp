#include "net/splice.hpp"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <optional>
#include <string>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace rooster::net {
namespace {

using namespace std::chrono_literals;

// client -(a)- splice -(b)- app, all on one loop; the ends are blocking-free descriptors.
class Splice : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto [client, near] = tcp_pair();
    const auto [far, app] = tcp_pair();
    client_ = Descriptor(client);
    app_ = Descriptor(app);
    a_ = std::make_unique<Stream>(loop_, Descriptor(near));
    b_ = std::make_unique<Stream>(loop_, Descriptor(far));
    group_.spawn(run());
  }
  void TearDown() override {
    group_.interrupt_all(Fault::Interrupted);
    for (int i = 0; i < 100 && group_.size() != 0; ++i) loop_.run_for(10ms);
  }

  static std::pair<int, int> tcp_pair() {
    const Descriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(listener.get(), 1), 0);
    ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size);
    const int one = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(::connect(one, reinterpret_cast<sockaddr*>(&address), size), 0);
    const int other = ::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    const int flags = ::fcntl(one, F_GETFL);
    ::fcntl(one, F_SETFL, flags | O_NONBLOCK);
    return {one, other};
  }

  Task<> run() {
    Waiter waiter(group_);
    auto end = co_await splice(*a_, *b_, waiter, buffer_);
    end_ = *end;
    if (end_->a_broke) reset_at_close(*b_);
    if (end_->b_broke) reset_at_close(*a_);
    a_.reset();
    b_.reset();
    co_return {};
  }

  /// Turns the loop until `fd` has given `wanted` bytes or its end; "END" or "RESET" marks those.
  std::string read(int fd, std::size_t wanted) {
    std::string text;
    std::array<char, 65536> block{};
    for (int i = 0; i < 3000 && text.size() < wanted; ++i) {
      const ssize_t got = ::recv(fd, block.data(), std::min(block.size(), wanted - text.size()), 0);
      if (got > 0) text.append(block.data(), static_cast<std::size_t>(got));
      if (got == 0) return text + "END";
      if (got < 0 && errno == ECONNRESET) return text + "RESET";
      if (got < 0) loop_.run_for(2ms);
    }
    return text;
  }
  static void send(int fd, std::string_view text) {
    ASSERT_EQ(::send(fd, text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  void settle() {
    for (int i = 0; i < 3000 && !end_; ++i) loop_.run_for(2ms);
  }

  Loop loop_;
  TaskGroup group_{loop_};
  std::array<char, 4096> buffer_{};
  Descriptor client_;
  Descriptor app_;
  std::unique_ptr<Stream> a_;
  std::unique_ptr<Stream> b_;
  std::optional<Spliced> end_;
};

TEST_F(Splice, PassesBytesBothWays) {
  send(client_.get(), "question");
  EXPECT_EQ(read(app_.get(), 8), "question");
  send(app_.get(), "answer");
  EXPECT_EQ(read(client_.get(), 6), "answer");
}

TEST_F(Splice, KeepsAHalfClose) {
  send(client_.get(), "all I say");
  ::shutdown(client_.get(), SHUT_WR);
  EXPECT_EQ(read(app_.get(), 100), "all I sayEND");
  send(app_.get(), "still answering");
  EXPECT_EQ(read(client_.get(), 15), "still answering");
  EXPECT_FALSE(end_);
  ::shutdown(app_.get(), SHUT_WR);
  EXPECT_EQ(read(client_.get(), 100), "END");
  settle();
  ASSERT_TRUE(end_);
  EXPECT_FALSE(end_->a_broke || end_->b_broke);
  EXPECT_TRUE(end_->a_ended_first);
  EXPECT_EQ(end_->forth, 9U);
  EXPECT_EQ(end_->back, 15U);
}

TEST_F(Splice, PassesAResetOnAsAReset) {
  send(client_.get(), "x");
  EXPECT_EQ(read(app_.get(), 1), "x");
  const linger none{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(app_.get(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
  app_.reset();
  settle();
  ASSERT_TRUE(end_);
  EXPECT_TRUE(end_->b_broke);
  EXPECT_EQ(read(client_.get(), 10), "RESET");
}

TEST_F(Splice, DoesNotReadAheadOfASlowSide) {
  // Much more than sockets hold: the sender is held up until the app reads.
  const std::string block(64 * 1024, 'x');
  std::size_t sent = 0;
  for (int i = 0; i < 400; ++i) {
    const ssize_t took = ::send(client_.get(), block.data(), block.size(), MSG_NOSIGNAL);
    if (took > 0) sent += static_cast<std::size_t>(took);
    loop_.run_for(1ms);
  }
  EXPECT_LT(sent, block.size() * 400) << "somebody hoards";
  ::shutdown(client_.get(), SHUT_WR);
  const std::string got = read(app_.get(), sent + 10);
  EXPECT_EQ(got.size(), sent + 3);
  EXPECT_TRUE(got.ends_with("xEND"));
}

TEST_F(Splice, EndsWhenTheSideThatHadEndedIsGoneAltogether) {
  ::shutdown(client_.get(), SHUT_WR);
  EXPECT_EQ(read(app_.get(), 1), "END");
  const linger none{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(client_.get(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
  client_.reset();
  settle();
  EXPECT_TRUE(end_);
}

}  // namespace
}  // namespace rooster::net
