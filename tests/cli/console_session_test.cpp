#include "cli/ssh_console.hpp"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <optional>
#include <string>

#include <sys/socket.h>

namespace rooster::cli {
namespace {

using namespace std::chrono_literals;
using net::ExecKind;

class ConsoleSessionTest : public ::testing::Test {
 protected:
  struct Pair {
    std::unique_ptr<Stream> near;
    Descriptor far;
  };
  Pair pair() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()), 0);
    return {std::make_unique<Stream>(loop_, Descriptor(ends[0])), Descriptor(ends[1])};
  }
  void begin(std::string first = {}) { group_.spawn(run(std::move(first))); }
  Task<> run(std::string first) {
    Waiter waiter(group_);
    ConsoleSession session({*node_.near, *input_.near, *output_.near, *errors_.near}, waiter);
    session.set_on_notice([this](std::string_view line) { notices_ += std::string(line) + '\n'; });
    session_ = &session;
    result_.emplace(co_await session.run(std::move(first)));
    session_ = nullptr;
    co_return {};
  }
  void TearDown() override {
    group_.interrupt_all(Fault::Interrupted);
    for (int i = 0; i < 1000 && group_.size() > 0; ++i) loop_.run_for(5ms);
  }
  void settle() {
    for (int i = 0; i < 2000 && !result_; ++i) loop_.run_for(2ms);
    ASSERT_TRUE(result_);
  }
  static void send(const Descriptor& to, std::string_view text) {
    ASSERT_EQ(::send(to.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  std::string read(const Descriptor& from, std::size_t wanted) {
    std::string text;
    std::array<char, 70000> block{};
    for (int i = 0; i < 2000 && text.size() < wanted; ++i) {
      const ssize_t got = ::recv(from.get(), block.data(), block.size(), 0);
      if (got > 0) text.append(block.data(), static_cast<std::size_t>(got));
      if (got == 0) break;
      if (got < 0) loop_.run_for(2ms);
    }
    return text;
  }

  Loop loop_;
  TaskGroup group_{loop_};
  Pair node_ = pair();
  Pair input_ = pair();
  Pair output_ = pair();
  Pair errors_ = pair();
  std::string notices_;
  ConsoleSession* session_ = nullptr;
  std::optional<Result<int>> result_;
};

TEST_F(ConsoleSessionTest, KeepsOutputAndErrorsApartAndGivesTheExactCode) {
  begin(net::encode_exec(ExecKind::Notice, "waking db"));
  send(node_.far, net::encode_exec(ExecKind::Stdout, "out") +
                      net::encode_exec(ExecKind::Stderr, "err") + net::encode_exec_exit(42));
  settle();
  ASSERT_TRUE(*result_) << result_->error().detail;
  EXPECT_EQ(**result_, 42);
  EXPECT_EQ(read(output_.far, 3), "out");
  EXPECT_EQ(read(errors_.far, 3), "err");
  EXPECT_EQ(notices_, "waking db\n");
}

TEST_F(ConsoleSessionTest, SendsInputItsEndSignalsAndSizes) {
  begin();
  send(input_.far, "ls\n");
  const std::string typed = net::encode_exec(ExecKind::Stdin, "ls\n");
  EXPECT_EQ(read(node_.far, typed.size()), typed);
  input_.far.reset();
  const std::string end = net::encode_exec(ExecKind::StdinEof);
  EXPECT_EQ(read(node_.far, end.size()), end);
  session_->send_signal(2);
  session_->send_size({50, 200});
  const std::string rest = net::encode_exec_signal(2) + net::encode_exec_resize(50, 200);
  EXPECT_EQ(read(node_.far, rest.size()), rest);
}

TEST_F(ConsoleSessionTest, LosesNothingToASlowReader) {
  begin();
  const std::string text(2'000'000, 'x');
  const std::string bytes = net::encode_exec(ExecKind::Stdout, text) + net::encode_exec_exit(0);
  std::size_t sent = 0;
  std::string got;
  std::array<char, 70000> block{};
  for (int i = 0; i < 20'000 && got.size() < text.size(); ++i) {
    const ssize_t put =
        ::send(node_.far.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (put > 0) sent += static_cast<std::size_t>(put);
    loop_.run_for(1ms);
    // The reader comes late, and takes little.
    const ssize_t took = i < 50 ? 0 : ::recv(output_.far.get(), block.data(), block.size(), 0);
    if (took > 0) got.append(block.data(), static_cast<std::size_t>(took));
  }
  EXPECT_EQ(got.size(), text.size());
  settle();
  EXPECT_EQ(**result_, 0);
}

TEST_F(ConsoleSessionTest, SaysWhatTheNodeSaid) {
  begin(net::encode_exec(ExecKind::Error, "db did not get ready"));
  settle();
  ASSERT_FALSE(*result_);
  EXPECT_EQ(result_->error().detail, "db did not get ready");
}

TEST_F(ConsoleSessionTest, KnowsALostConnectionFromAnEnd) {
  begin(net::encode_exec(ExecKind::Stdout, "half"));
  node_.far.reset();
  settle();
  ASSERT_FALSE(*result_);
  EXPECT_EQ(result_->error().detail, "the connection to the machine was lost");
  EXPECT_EQ(read(output_.far, 4), "half");
}

TEST_F(ConsoleSessionTest, RefusesWhatIsNotTheProtocol) {
  begin("SSH-2.0-OpenSSH\r\n");
  settle();
  ASSERT_FALSE(*result_);
  EXPECT_EQ(result_->error().detail, "what answers there does not speak rooster-exec/1");
}

TEST_F(ConsoleSessionTest, EndsAsAProgramDoesWhoseReaderIsGone) {
  begin();
  output_.far.reset();
  const std::string text = net::encode_exec(ExecKind::Stdout, "x");
  for (int i = 0; i < 100 && !result_; ++i) {
    ::send(node_.far.get(), text.data(), text.size(), MSG_NOSIGNAL);
    loop_.run_for(2ms);
  }
  settle();
  EXPECT_EQ(**result_, 141);
}

TEST(ExecRequest, SaysWhatToRunInJson) {
  const auto request = exec_request({.app = "db",
                                     .machine = "a1",
                                     .argv = {"echo", "a \"b\""},
                                     .user = {},
                                     .pty = true,
                                     .start = false,
                                     .terminal = "xterm",
                                     .size = net::ExecSize{50, 200}});
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.target, "/v1/apps/db/machines/a1/exec");
  EXPECT_EQ(request.field("Upgrade"), "rooster-exec/1");
  EXPECT_EQ(request.body,
            R"({"command":["echo","a \"b\""],"pty":true,"start":false,"term":"xterm","rows":50,)"
            R"("columns":200})");
}

}  // namespace
}  // namespace rooster::cli
